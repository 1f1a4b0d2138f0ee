"""Cached frontier tensors by row number, read from the fastest place that holds them all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from reuse.caching.holding import Hold
from reuse.caching.reading_ahead import ReadAhead, SpareMemory
from reuse.caching.segment_rows import HarmedRowsError
from reuse.caching.storage import empty, row_bytes
from reuse.caching.stored_rows import StoredRows, Unpacker
from reuse.data.windows import Windows, windows_for
from reuse.devices import free_memory
from reuse.layers.frontier_tensor import FrontierTensor

Mend = Callable[[HarmedRowsError], StoredRows]
"""Function that has damaged or lost rows computed again, and returns all rows of the split with these."""

STAGING_BYTES = 64 * 2**20  # what is on its way to the device at once while a split is loaded


class Activations(ABC):
    """The cached frontier of a split's rows. Row numbers are those of the keys that it was asked for.

    Attributes:
        device: where `gather` puts its tensors.
        shapes: the shape of one row of each frontier tensor.
        windows: how an epoch of them is shuffled where that is not rows at random; None where it is.
    """

    device: torch.device
    shapes: tuple[tuple[int, ...], ...]
    windows: Windows | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def gather(self, indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the frontier tensors, each `(batch, …)` on `device`, of the rows `indices`, `(batch,)` int64."""

    @abstractmethod
    def resident(self) -> tuple[torch.Tensor, ...] | None:
        """Return all rows where they are in memory (of the device or the machine), None where they stay on disk."""


class ResidentActivations(Activations):
    """All rows in memory: on the device itself, or in RAM and copied over batch by batch."""

    def __init__(self, tensors: tuple[torch.Tensor, ...], num_rows: int, device: torch.device) -> None:
        self.device = device
        self.shapes = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
        self._tensors = tensors
        self._num_rows = num_rows
        self._on_device = all(tensor.device.type == device.type for tensor in tensors)

    def __len__(self) -> int:
        return self._num_rows

    def gather(self, indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the rows `indices` on `device`; see `Activations.gather`."""
        return tuple([self._select(tensor, indices) for tensor in self._tensors])

    def resident(self) -> tuple[torch.Tensor, ...]:
        """Return all rows; see `Activations.resident`."""
        return self._tensors

    def _select(self, tensor: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        if self._on_device and tensor.device == indices.device:
            return tensor.index_select(0, indices)
        chosen = tensor.new_empty((len(indices), *tensor.shape[1:]), pin_memory=_pins(self.device, tensor))
        torch.index_select(tensor, 0, indices.to(tensor.device), out=chosen)
        return chosen.to(self.device, non_blocking=True)


class PackedActivations(Activations):
    """All rows in memory as they are stored, where they take less than as computed; batches are unpacked.

    Args:
        rows: what is stored, in memory.
        unpacker: of these rows, on `rows.device`.
    """

    def __init__(self, rows: ResidentActivations, unpacker: Unpacker) -> None:
        self.device, self.shapes = rows.device, rows.shapes
        self._rows, self._unpacker = rows, unpacker

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the rows `indices` on `device`; see `Activations.gather`."""
        return self._unpacker.unpack(self._rows.gather(indices), indices.to(self.device))

    def resident(self) -> None:
        """Return None: unpacked, the rows would not fit."""


class MappedActivations(Activations):
    """Rows that stay on disk, read in long runs if their order is known, and else through the page cache one by one.

    Each is checked when it is first read. As long as they are used, they are not evicted.

    Args:
        stored: the rows.
        frontier: what was computed of a row.
        device: where they are used.
        spare: what they are read into when their order is known.
        mend: has damaged rows computed again, and returns the rows with these.
    """

    def __init__(
        self,
        stored: StoredRows,
        frontier: Sequence[FrontierTensor],
        device: torch.device,
        spare: SpareMemory | None = None,
        mend: Mend | None = None,
    ) -> None:
        self.device = device
        self.shapes = tuple(tensor.shape for tensor in stored.frontier)
        self._frontier, self._spare, self._mend = tuple(frontier), spare or SpareMemory(), mend
        self._take(stored)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_mend": None}  # another process has nothing to compute with

    def _take(self, stored: StoredRows) -> None:
        self._stored, self._unpacker = stored, Unpacker(stored, self._frontier, self.device)
        self._holds = [Hold(folder) for folder in {header.path.parent for header in stored.headers}]

    def __len__(self) -> int:
        return len(self._stored)

    def gather(self, indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the rows `indices` on `device`; see `Activations.gather`."""
        targets, positions = self._stored.empty(len(indices), pinned=self.device.type == "cuda"), indices.cpu().numpy()
        while True:
            try:
                self._stored.read(positions, targets)
                self._stored.check(positions)
                return self.handed_over(targets, indices)
            except HarmedRowsError as harm:
                self.mend(harm)

    def mend(self, harm: HarmedRowsError) -> None:
        """Go on with the same rows, those that are damaged or lost computed again; raises where nobody can."""
        if self._mend is None:
            raise harm
        self._take(self._mend(harm))

    def in_order(self, order: torch.Tensor) -> "OrderedActivations":
        """Return the same rows, which will be gathered in the order of the row numbers `order`, `(rows,)` int64."""
        windows = self.windows or windows_for(row_bytes(self._stored.frontier))
        return OrderedActivations(self, ReadAhead(self._stored, order, windows, self._spare))

    def resident(self) -> None:
        """Return None: the rows stay on disk."""

    def handed_over(self, tensors: Sequence[torch.Tensor], indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return rows that were read, on `device` and as they were computed."""
        moved = tuple(tensor.to(self.device, non_blocking=True) for tensor in tensors)
        return self._unpacker.unpack(moved, indices.to(self.device)) if self._unpacker.needed else moved


class OrderedActivations(Activations):
    """Rows that stay on disk and are gathered in a known order.

    Those asked for out of turn come one by one, and where one was damaged, all that follow.
    """

    def __init__(self, rows: MappedActivations, ahead: ReadAhead) -> None:
        self.device, self.shapes, self.windows = rows.device, rows.shapes, rows.windows
        self._rows, self._ahead, self._mended = rows, ahead, False

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the rows `indices` on `device`; see `Activations.gather`."""
        try:
            read = None if self._mended else self._ahead.take(indices.cpu())
        except HarmedRowsError as harm:
            self._rows.mend(harm)
            read, self._mended = None, True
        return self._rows.gather(indices) if read is None else self._rows.handed_over(read, indices)

    def resident(self) -> None:
        """Return None: the rows stay on disk."""

    def close(self) -> None:
        """Stop reading ahead."""
        self._ahead.close()


def read_rows(
    stored: StoredRows,
    frontier: Sequence[FrontierTensor],
    device: torch.device,
    memory: int | None = None,
    windowed: bool | None = None,
    spare: SpareMemory | None = None,
    mend: Mend | None = None,
) -> Activations:
    """Return the rows from the fastest tier that they fit into: the device, RAM, the disk.

    Rows that are stored in fewer bits lie in memory as they were computed, or else as they are stored.

    Args:
        stored: the rows of a split.
        frontier: what was computed of a row, which is what is returned.
        device: where they are used.
        memory: bytes that may be taken on `device`; half of what is free by default. RAM beside another device: always
            half of what is free.
        windowed: whether epochs are shuffled window by window, so that a run goes on as it began where there is more
            or less memory than then; None: where the rows stay on disk.
        spare: what rows that stay on disk are read into, shared with other splits; None: their own.

        mend: has rows that stay on disk, and turn out to be damaged, computed again; None: they are an error.

    All rows are checked against checksums, those that stay on disk when they are first read.

    Raises:
        DamageError: rows are not what was written.
        LostRowsError: a file can no longer be read.
    """
    found = _in_memory(stored, frontier, device, memory)
    if found is None:
        found = MappedActivations(stored, frontier, device, spare, mend)
    if windowed or (windowed is None and isinstance(found, MappedActivations)):
        found.windows = windows_for(row_bytes(stored.frontier))
    return found


def _in_memory(
    stored: StoredRows,
    frontier: Sequence[FrontierTensor],
    device: torch.device,
    memory: int | None,
) -> Activations | None:
    """Return the rows in memory, None where they do not fit."""
    unpacker = Unpacker(stored, frontier, device)
    tiers = [(device, free_memory(device) // 2 if memory is None else memory)]
    if device.type != "cpu":
        host = torch.device("cpu")
        tiers.append((host, free_memory(host) // 2))
    for place, allowed in tiers:
        if len(stored) * row_bytes(frontier) <= allowed and (place == device or not unpacker.needed):
            return ResidentActivations(_load(stored, frontier, unpacker, place), len(stored), device)
        if unpacker.needed and len(stored) * row_bytes(stored.frontier) <= allowed:
            rows = ResidentActivations(_load(stored, stored.frontier, None, place), len(stored), device)
            return PackedActivations(rows, unpacker)
    return None


def _load(
    stored: StoredRows, frontier: Sequence[FrontierTensor], unpacker: Unpacker | None, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """Return all rows on `device`, unpacked there if they are to be."""
    unpack = unpacker if unpacker is not None and unpacker.needed else None
    targets = [empty((len(stored), *tensor.shape), tensor.dtype, device) for tensor in frontier]
    everything, rows = np.arange(len(stored)), _portion_rows(stored)
    for start in range(0, len(stored), rows):
        part = everything[start : start + rows]
        parts = [target[start : start + len(part)] for target in targets]
        straight = device.type == "cpu" and unpack is None
        staged = parts if straight else stored.empty(len(part), pinned=device.type == "cuda")
        stored.read(part, staged)
        if unpack is not None:
            moved = [values.to(device, non_blocking=True) for values in staged]
            values_of_part = unpack.unpack(moved, torch.from_numpy(part).to(device))
        else:
            values_of_part = tuple(staged)
        for target, values in zip(parts, values_of_part, strict=True):
            if target is not values:
                target.copy_(values, non_blocking=True)
    stored.check(everything)
    return tuple(targets)


def _portion_rows(stored: StoredRows) -> int:
    """Return how many rows are read at once: whole blocks, where the split has the order of the files."""
    rows = max(1, STAGING_BYTES // max(1, row_bytes(stored.frontier)))
    block_rows = max((header.block_rows for header in stored.headers), default=1)
    return rows - rows % block_rows if rows >= block_rows else rows


def _pins(device: torch.device, tensor: torch.Tensor) -> bool:
    return device.type == "cuda" and tensor.device.type == "cpu"

"""Cached frontier tensors by row number, read from the fastest place that holds them all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch

from reuse.caching.holding import Hold
from reuse.caching.load_checking import LoadCheck
from reuse.caching.reading_ahead import ReadAhead, SpareMemory
from reuse.caching.storage import row_bytes
from reuse.caching.stored_rows import StoredRows, Unpacker
from reuse.data.windows import Windows, windows_for
from reuse.devices import free_memory
from reuse.layers.frontier_tensor import FrontierTensor

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

    They are not checked: a checksum covers a block and not a row, and `reuse cache verify` takes it. As long as they
    are used, they are not evicted.
    """

    def __init__(
        self, stored: StoredRows, unpacker: Unpacker, device: torch.device, spare: SpareMemory | None = None
    ) -> None:
        self.device = device
        self.shapes = tuple(tensor.shape for tensor in stored.frontier)
        self._stored, self._unpacker, self._spare = stored, unpacker, spare or SpareMemory()
        self._holds = [Hold(folder) for folder in {header.path.parent for header in stored.headers}]

    def __len__(self) -> int:
        return len(self._stored)

    def gather(self, indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the rows `indices` on `device`; see `Activations.gather`."""
        targets = self._stored.empty(len(indices), pinned=self.device.type == "cuda")
        self._stored.read(indices.cpu().numpy(), targets)
        return self._handed_over(targets, indices)

    def in_order(self, order: torch.Tensor) -> "OrderedActivations":
        """Return the same rows, which will be gathered in the order of the row numbers `order`, `(rows,)` int64."""
        windows = self.windows or windows_for(row_bytes(self._stored.frontier))
        return OrderedActivations(self, ReadAhead(self._stored, order, windows, self._spare), self._handed_over)

    def resident(self) -> None:
        """Return None: the rows stay on disk."""

    def _handed_over(self, tensors: Sequence[torch.Tensor], indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        moved = tuple(tensor.to(self.device, non_blocking=True) for tensor in tensors)
        return self._unpacker.unpack(moved, indices.to(self.device)) if self._unpacker.needed else moved


class OrderedActivations(Activations):
    """Rows that stay on disk and are gathered in a known order; those asked for out of turn come one by one."""

    def __init__(
        self,
        rows: Activations,
        ahead: ReadAhead,
        hand_over: Callable[[Sequence[torch.Tensor], torch.Tensor], tuple[torch.Tensor, ...]],
    ) -> None:
        self.device, self.shapes, self.windows = rows.device, rows.shapes, rows.windows
        self._rows, self._ahead, self._hand_over = rows, ahead, hand_over

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the rows `indices` on `device`; see `Activations.gather`."""
        read = self._ahead.take(indices.cpu())
        return self._rows.gather(indices) if read is None else self._hand_over(read, indices)

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

    Blocks that are read into memory at least half are checked against their checksum. Those read less, and rows that
    stay on disk, are not: `reuse cache verify` checks them.

    Raises:
        CacheError: a checked block is not what was written, or a file can no longer be read.
    """
    found = _fastest(stored, frontier, device, memory, spare)
    if windowed or (windowed is None and isinstance(found, MappedActivations)):
        found.windows = windows_for(row_bytes(stored.frontier))
    return found


def _fastest(
    stored: StoredRows,
    frontier: Sequence[FrontierTensor],
    device: torch.device,
    memory: int | None,
    spare: SpareMemory | None,
) -> Activations:
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
    return MappedActivations(stored, unpacker, device, spare)


def _load(
    stored: StoredRows, frontier: Sequence[FrontierTensor], unpacker: Unpacker | None, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """Return all rows on `device`, unpacked there if they are to be."""
    unpack = unpacker if unpacker is not None and unpacker.needed else None
    targets = [torch.empty((len(stored), *t.shape), dtype=t.dtype, device=device) for t in frontier]
    everything, check, rows = np.arange(len(stored)), LoadCheck(stored), _portion_rows(stored)
    for start in range(0, len(stored), rows):
        part = everything[start : start + rows]
        parts = [target[start : start + len(part)] for target in targets]
        straight = device.type == "cpu" and unpack is None
        staged = parts if straight else stored.empty(len(part), pinned=device.type == "cuda")
        stored.read(part, staged)
        check.check(part, staged)
        if unpack is not None:
            moved = [values.to(device, non_blocking=True) for values in staged]
            values_of_part = unpack.unpack(moved, torch.from_numpy(part).to(device))
        else:
            values_of_part = tuple(staged)
        for target, values in zip(parts, values_of_part, strict=True):
            if target is not values:
                target.copy_(values, non_blocking=True)
    check.finish()
    return tuple(targets)


def _portion_rows(stored: StoredRows) -> int:
    """Return how many rows are read at once: whole blocks, where the split has the order of the files."""
    rows = max(1, STAGING_BYTES // max(1, row_bytes(stored.frontier)))
    block_rows = max((header.block_rows for header in stored.headers), default=1)
    return rows - rows % block_rows if rows >= block_rows else rows


def _pins(device: torch.device, tensor: torch.Tensor) -> bool:
    return device.type == "cuda" and tensor.device.type == "cpu"

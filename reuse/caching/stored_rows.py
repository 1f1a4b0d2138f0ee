"""Rows that lie in published segments: read through memory maps as stored, and turned back into what was computed."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reuse.caching.checking import checksum
from reuse.caching.damage import DamageError, block_damage
from reuse.caching.header import Header
from reuse.caching.packing import QuantizedTensor, dequantize, quantized
from reuse.caching.segment_rows import read_into, require_whole, rows_of, same_file
from reuse.caching.storage import empty, from_storage
from reuse.caching.verifying import Verifier
from reuse.layers.frontier_tensor import FrontierTensor

SHORTEST_RUN = 32  # rows: where runs are shorter on average, rows are gathered one by one
LONG_RUN_BYTES = 2**20
PIECE_BYTES = 2**18  # of a long run, read and checked at once: they are in the processor's cache then
PORTION_BYTES = 64 * 2**20
BATCH_ROWS = 4096  # so many rows, or fewer, are a batch; more are a split on its way into memory


class StoredRows:
    """Rows of one or more segments in the order of a split.

    It holds paths and offsets; the maps are opened again after a pickle, and what was checked is checked again.

    Args:
        headers: the segments.
        frontier: what a row holds.
        segments: for each row the position of its segment in `headers`, (rows,) int64.
        rows: for each row its place in that segment, (rows,) int64.
    """

    def __init__(
        self, headers: Sequence[Header], frontier: Sequence[FrontierTensor], segments: np.ndarray, rows: np.ndarray
    ) -> None:
        self.headers = tuple(headers)
        self.frontier = tuple(frontier)
        self.segments = segments
        self.rows = rows
        maps = {segment: self._map(segment) for segment in np.unique(segments).tolist()}
        self._verifier = Verifier(self.headers, segments, rows, maps)
        self._maps = {
            segment: [from_storage(rows, tensor.dtype) for rows, tensor in zip(tensors, self.frontier, strict=True)]
            for segment, tensors in maps.items()
        }

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in {"_maps", "_verifier"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # what it was made of is its state

    def empty(self, rows: int, device: torch.device | str = "cpu", pinned: bool = False) -> list[Tensor]:
        """Return uninitialised tensors that hold `rows` rows; `pinned` ones are copied to a GPU without waiting."""
        return [empty((rows, *tensor.shape), tensor.dtype, torch.device(device), pinned) for tensor in self.frontier]

    def read(self, positions: np.ndarray, targets: Sequence[Tensor]) -> None:
        """Copy the rows at `positions` of this list, in that order, into `targets` (on the CPU, as many rows).

        Raises:
            LostRowsError: a file was cut off, or is another.
        """
        self._require_whole()
        rows = self.rows[positions]
        if len(self._maps) == 1 and len(rows) <= BATCH_ROWS:
            # A batch out of one file: looking for runs would take as long as gathering.
            for source, target in zip(next(iter(self._maps.values())), targets, strict=True):
                torch.index_select(source, 0, torch.from_numpy(rows), out=target)
            return
        segments = self.segments[positions]
        starts = np.flatnonzero((np.diff(segments) != 0) | (np.diff(rows) != 1)) + 1
        if (len(starts) + 1) * SHORTEST_RUN <= len(positions):
            bounds = [0, *starts.tolist(), len(positions)]
            for start, stop in pairwise(bounds):
                self._copy_run(int(segments[start]), int(rows[start]), [target[start:stop] for target in targets])
        else:
            self._read_scattered(segments, rows, targets)

    def check(self, positions: np.ndarray) -> None:
        """Check the units that the rows at `positions` lie in, as far as they were not checked yet.

        Raises:
            DamageError: some are not what was written.
            LostRowsError: a file was cut off.
        """
        if not self._verifier.is_done:
            self._require_whole()
            self._verifier.check(self.segments[positions], self.rows[positions])

    def read_run(self, segment: int, first: int, targets: Sequence[Tensor]) -> None:
        """Copy neighbouring rows of a segment from row `first` on into `targets`, and check new whole units meanwhile.

        It passes by the map, which costs a page fault every few pages: longer than the copy. What is wrong `check`
        raises, whatever it is asked for.
        """
        header, stop = self.headers[segment], first + len(targets[0])
        contents = [target.reshape(-1).view(torch.uint8).numpy().data for target in targets]
        sizes = [place.row_bytes for place in header.tensors]
        unchecked = self._verifier.awaits(segment, first, stop)
        piece_bytes = PIECE_BYTES if unchecked else sum(map(len, contents))
        with same_file(header) as file:
            for start, end in header.pieces(first, stop, piece_bytes):
                parts = [
                    content[(start - first) * size : (end - first) * size]
                    for content, size in zip(contents, sizes, strict=True)
                ]
                for place, part in zip(header.tensors, parts, strict=True):
                    read_into(part, file, header, place, start)
                if unchecked:
                    self._verifier.check_read(segment, start, end, parts)

    def _require_whole(self) -> None:
        for segment in self._maps:
            require_whole(self.headers[segment])

    def _copy_run(self, segment: int, first: int, targets: Sequence[Tensor]) -> None:
        if sum(target.nbytes for target in targets) >= LONG_RUN_BYTES:
            self.read_run(segment, first, targets)
            return
        for source, target in zip(self._maps[segment], targets, strict=True):
            target.copy_(source[first : first + len(target)])

    def _read_scattered(self, segments: np.ndarray, rows: np.ndarray, targets: Sequence[Tensor]) -> None:
        used = np.unique(segments).tolist()
        for segment in used:
            at, chosen = np.flatnonzero(segments == segment), rows[segments == segment]
            for source, target in zip(self._maps[segment], targets, strict=True):
                if len(used) == 1:
                    torch.index_select(source, 0, torch.from_numpy(chosen), out=target)
                else:
                    _scatter(source, chosen, target, at)

    def _map(self, segment: int) -> list[np.ndarray]:
        header = self.headers[segment]
        return [rows_of(header, place) for place in header.tensors]


class Unpacker:
    """Converter of the rows of a split, from what is stored to what the frozen layers computed.

    Args:
        stored: the rows of the split.
        frontier: what was computed of a row.
        device: where rows are unpacked.

    Attributes:
        needed: whether any tensor is stored in another type than it was computed in.

    Raises:
        DamageError: the scales of a block are not what was written.
    """

    def __init__(self, stored: StoredRows, frontier: Sequence[FrontierTensor], device: torch.device) -> None:
        self.needed = any(a.dtype != b.dtype for a, b in zip(stored.frontier, frontier, strict=True))
        self._dtypes = tuple(tensor.dtype for tensor in frontier)
        self._stored = stored.frontier
        self._tables: list[Tensor] = []
        self._block: Tensor | None = None
        if quantized(stored.frontier):
            self._tables = [table.to(device) for table in _tables(stored)]
            self._block = _block_of_row(stored).to(device)

    def unpack(self, tensors: Sequence[Tensor], indices: Tensor) -> tuple[Tensor, ...]:
        """Return stored rows as they were computed.

        Args:
            tensors: what is stored, each `(rows, …)`, on the device.
            indices: which rows of the split these are, `(rows,)` int64, on the device.
        """
        blocks = None if self._block is None else self._block.index_select(0, indices)
        tables, unpacked = iter(self._tables), []
        for values, tensor, dtype in zip(tensors, self._stored, self._dtypes, strict=True):
            if isinstance(tensor, QuantizedTensor):
                assert blocks is not None
                unpacked.append(dequantize(values, *_scales(next(tables), blocks, tensor), dtype))
            else:
                unpacked.append(values.to(dtype))
        return tuple(unpacked)

    def steps(self, indices: Tensor) -> list[Tensor | None]:
        """Return for each tensor how far neighbouring codes of the rows `indices` are apart; None without codes."""
        tables = iter(self._tables)
        return [
            _scales(next(tables), self._block.index_select(0, indices), tensor)[1]
            if isinstance(tensor, QuantizedTensor) and self._block is not None
            else None
            for tensor in self._stored
        ]


def _scatter(source: Tensor, rows: np.ndarray, target: Tensor, at: np.ndarray) -> None:
    """Set `target[at] = source[rows]`, a portion at a time: what is gathered lies in memory twice."""
    portion = max(1, PORTION_BYTES // max(1, source[:1].nbytes))
    for start in range(0, len(at), portion):
        part = slice(start, start + portion)
        gathered = source.index_select(0, torch.from_numpy(rows[part]))
        target.index_copy_(0, torch.from_numpy(at[part]), gathered)


def _scales(table: Tensor, blocks: Tensor, tensor: QuantizedTensor) -> tuple[Tensor, Tensor]:
    """Return low and step of each row, each `(rows, *channel_shape)`, or of one row where all are of one block."""
    chosen = table if len(table) == 1 else table.index_select(0, blocks)
    low, step = chosen.reshape(len(chosen), 2, *tensor.channel_shape).unbind(1)
    return low, step


def _tables(stored: StoredRows) -> list[Tensor]:
    """Return the scales of all blocks of all segments, `(blocks, 2, channels)` for each tensor in 8 bits."""
    of_segments = [_checked_scales(header) for header in stored.headers]
    return [torch.from_numpy(np.concatenate(tables)) for tables in zip(*of_segments, strict=True)]


def _block_of_row(stored: StoredRows) -> Tensor:
    """Return the row of the tables that holds each row's scales, `(rows,)` int64."""
    first = np.cumsum([0, *(len(header.blocks) for header in stored.headers)])
    block_rows = np.array([header.block_rows for header in stored.headers] or [1])
    return torch.from_numpy(first[stored.segments] + stored.rows // block_rows[stored.segments])


def _checked_scales(header: Header) -> list[np.ndarray]:
    recorded, first = rows_of(header, header.checksums), len(header.tensors) + 1
    tables, wrong = [], []
    for column, place in enumerate(header.scales, first):
        table = np.array(rows_of(header, place))
        wrong += [
            block_damage(header, index, header.checked_names[column])
            for index in range(len(table))
            if checksum(header, table[index : index + 1]) != recorded[index, column]
        ]
        tables.append(table)
    if wrong:
        raise DamageError(wrong)
    return tables

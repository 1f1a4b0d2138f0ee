"""A list of rows that lie in published segments, read through memory maps."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from reuse.caching.segment import Header, read_run, rows_of
from reuse.caching.storage import from_storage
from reuse.layers.frontier_tensor import FrontierTensor

SHORTEST_RUN = 32  # rows: where runs are shorter on average, rows are gathered one by one
LONG_RUN_BYTES = 2**20
PORTION_BYTES = 64 * 2**20
BATCH_ROWS = 4096  # so many rows, or fewer, are a batch; more are a split on its way into memory


class StoredRows:
    """Rows of one or more segments in the order of a split.

    It holds paths and offsets; the maps are opened again after a pickle.

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
        self._maps = {int(segment): self._map(segment) for segment in np.unique(segments)}

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_maps"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def empty(self, rows: int, device: torch.device | str = "cpu", pinned: bool = False) -> list[torch.Tensor]:
        """Return uninitialised tensors that hold `rows` rows; `pinned` ones are copied to a GPU without waiting."""
        return [
            torch.empty((rows, *tensor.shape), dtype=tensor.dtype, device=device, pin_memory=pinned)
            for tensor in self.frontier
        ]

    def read(self, positions: np.ndarray, targets: Sequence[torch.Tensor]) -> None:
        """Copy the rows at `positions` of this list, in that order, into `targets` (on the CPU, as many rows)."""
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
                self._read_run(int(segments[start]), int(rows[start]), [target[start:stop] for target in targets])
        else:
            self._read_scattered(segments, rows, targets)

    def _read_run(self, segment: int, first: int, targets: Sequence[torch.Tensor]) -> None:
        header = self.headers[segment]
        for place, source, target in zip(header.tensors, self._maps[segment], targets, strict=True):
            if target.nbytes >= LONG_RUN_BYTES:
                read_run(header, place, first, target.reshape(-1).view(torch.uint8).numpy().data)
            else:
                target.copy_(source[first : first + len(target)])

    def _read_scattered(self, segments: np.ndarray, rows: np.ndarray, targets: Sequence[torch.Tensor]) -> None:
        used = np.unique(segments).tolist()
        for segment in used:
            at, chosen = np.flatnonzero(segments == segment), rows[segments == segment]
            for source, target in zip(self._maps[segment], targets, strict=True):
                if len(used) == 1:
                    torch.index_select(source, 0, torch.from_numpy(chosen), out=target)
                else:
                    _scatter(source, chosen, target, at)

    def _map(self, segment: int) -> list[torch.Tensor]:
        header = self.headers[segment]
        return [
            from_storage(rows_of(header, place), tensor.dtype)
            for place, tensor in zip(header.tensors, self.frontier, strict=True)
        ]


def _scatter(source: torch.Tensor, rows: np.ndarray, target: torch.Tensor, at: np.ndarray) -> None:
    """Set `target[at] = source[rows]`, a portion at a time: what is gathered lies in memory twice."""
    portion = max(1, PORTION_BYTES // max(1, source[:1].nbytes))
    for start in range(0, len(at), portion):
        part = slice(start, start + portion)
        gathered = source.index_select(0, torch.from_numpy(rows[part]))
        target.index_copy_(0, torch.from_numpy(at[part]), gathered)

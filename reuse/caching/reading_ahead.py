"""Reading rows that stay on disk in an order that is known: while one portion is used, the next is read."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from reuse.caching.stored_rows import StoredRows
from reuse.data.windows import Windows

THREADS = 4  # that read at once: a disk is fastest when it has several things to do
SPAN_BYTES = 2**20  # read at once by one of them
PORTIONS = 2  # in memory: one is used while the next is read
GAP_BYTES = 2**16  # to read so much that nobody wants takes no longer than to begin anew behind it


@dataclass(frozen=True)
class Span:
    """Rows `first` to `stop` of a segment, of which those of a portion go to its places `start` and following."""

    segment: int
    first: int
    stop: int
    start: int
    count: int


@dataclass(frozen=True)
class Portion:
    """Rows in memory in the order of the files; `places` says where the rows lie in the order they are asked for."""

    tensors: list[Tensor]
    places: Tensor


class SpareMemory:
    """Memory for portions, left by one epoch to the next: new memory costs more time than reading into it."""

    def __init__(self) -> None:
        self._spare: list[list[Tensor]] = []

    def take(self, stored: StoredRows, rows: int) -> list[Tensor]:
        """Return tensors for at least `rows` rows, which are nobody else's until they are left."""
        while self._spare:
            tensors = self._spare.pop()
            if all(len(tensor) >= rows for tensor in tensors):
                return tensors
        return stored.empty(rows)

    def leave(self, tensors: list[Tensor]) -> None:
        """Keep tensors for the next who needs some, as many as one reader has."""
        self._spare = [*self._spare, tensors][-PORTIONS:]

    def __reduce__(self) -> tuple[type["SpareMemory"], tuple[()]]:
        return SpareMemory, ()  # another process has nothing of it


class ReadAhead:
    """Reader of the rows of a split in a known order, which reads them into memory in long runs beforehand.

    Args:
        stored: the rows of the split.
        order: their numbers in the order in which they will be asked for, `(rows,)` int64.
        windows: how much is read at once.
        spare: where memory is taken from and left, that of the same rows' other epochs.
    """

    def __init__(self, stored: StoredRows, order: Tensor, windows: Windows, spare: SpareMemory) -> None:
        self._stored, self._order, self._spare = stored, order.cpu(), spare
        self._portions = windows.portions(self._order.numpy())
        most = max((stop - start for start, stop in self._portions), default=0)
        self._memory = [spare.take(stored, most) for _ in range(PORTIONS)]
        self._readers = ThreadPoolExecutor(THREADS)
        self._ahead = ThreadPoolExecutor(1)
        self._at = 0
        self._next: Future[Portion] | None = None
        self._number, self._portion = -1, Portion([], torch.empty(0, dtype=torch.int64))
        self._begin(0)

    def take(self, indices: Tensor) -> list[Tensor] | None:
        """Return the rows `indices` as they are stored, `(rows,)` on the CPU; None if it is not their turn.

        Raises:
            DamageError: some that were read are not what was written; the others have to be read elsewhere.
        """
        start, stop = self._at, self._at + len(indices)
        if not self._memory or not torch.equal(self._order[start:stop], indices):
            return None
        self._at = stop
        parts = list(self._parts(start, stop))
        return parts[0] if len(parts) == 1 else [torch.cat(tensors) for tensors in zip(*parts, strict=True)]

    def close(self) -> None:
        """Stop reading, and give the memory away: no row is had from here any more."""
        self._ahead.shutdown(wait=True, cancel_futures=True)
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._portion = Portion([], self._order[:0])
        while self._memory:
            self._spare.leave(self._memory.pop())

    def _parts(self, start: int, stop: int) -> Iterator[list[Tensor]]:
        while True:
            first, end = self._portions[self._number] if self._number >= 0 else (0, 0)
            if start < end or start == stop:
                places = self._portion.places[start - first : min(stop, end) - first]
                yield [_selected(tensor, places) for tensor in self._portion.tensors]
                start = min(stop, end)
            if start == stop:
                return
            self._advance()

    def _advance(self) -> None:
        assert self._next is not None
        ready, self._next = self._next, None
        try:
            self._portion, self._number = ready.result(), self._number + 1
        finally:
            del ready  # an error in it would keep itself, and what is read, alive
        self._begin(self._number + 1)

    def _begin(self, number: int) -> None:
        """Read a portion into the memory of the one before the one that is in use from now on."""
        if number < len(self._portions):
            self._next = self._ahead.submit(self._read, *self._portions[number], self._memory[number % PORTIONS])

    def _read(self, start: int, stop: int, memory: Sequence[Tensor]) -> Portion:
        positions = self._order[start:stop].numpy()
        by_place = np.lexsort((self._stored.rows[positions], self._stored.segments[positions]))
        places = np.empty(len(positions), np.int64)
        places[by_place] = np.arange(len(positions))
        tensors, in_order = [tensor[: len(positions)] for tensor in memory], positions[by_place]
        segments, rows = self._stored.segments[in_order], self._stored.rows[in_order]
        row_bytes = max(1, sum(tensor.row_bytes for tensor in self._stored.frontier))
        spans = divide(segments, rows, max(1, SPAN_BYTES // row_bytes), 1 + GAP_BYTES // row_bytes)
        for done in [self._readers.submit(self._read_span, span, rows, tensors) for span in spans]:
            done.result()
        self._stored.check(in_order)
        return Portion(tensors, torch.from_numpy(places))

    def _read_span(self, span: Span, rows: np.ndarray, tensors: Sequence[Tensor]) -> None:
        to = slice(span.start, span.start + span.count)
        targets = [tensor[to] for tensor in tensors]
        if np.array_equal(rows[to], np.arange(span.first, span.stop)):
            self._stored.read_run(span.segment, span.first, targets)
            return
        read = [target.new_empty((span.stop - span.first, *target.shape[1:])) for target in targets]
        self._stored.read_run(span.segment, span.first, read)
        for target, values in zip(targets, read, strict=True):
            target.copy_(_selected(values, torch.from_numpy(rows[to] - span.first)))


def _selected(tensor: Tensor, places: Tensor) -> Tensor:
    """Return rows of a tensor, by one thread: those of torch would wait for processors on which files are read."""
    chosen = tensor.new_empty((len(places), *tensor.shape[1:]))
    if chosen.numel():
        np.take(_bytes_of(tensor), places.numpy(), axis=0, out=_bytes_of(chosen), mode="clip")
    return chosen


def _bytes_of(tensor: Tensor) -> np.ndarray:
    return tensor.reshape(len(tensor), -1).view(torch.uint8).numpy()


def divide(segments: np.ndarray, rows: np.ndarray, most: int, apart: int) -> list[Span]:
    """Return what to read for rows that are sorted by segment and row, `(rows,)` int64 each.

    Args:
        segments: of each row.
        rows: its place in that segment.
        most: rows that are read at once.
        apart: how far one row may lie behind another so that what is between them is read too.
    """
    distances = np.diff(rows)
    splits = np.flatnonzero((np.diff(segments) != 0) | (distances > apart)) + 1
    spans = []
    for start, stop in pairwise([0, *splits.tolist(), len(rows)]):
        while start < stop:
            end = start + int(np.searchsorted(rows[start:stop], rows[start] + most))
            spans.append(Span(int(segments[start]), int(rows[start]), int(rows[end - 1]) + 1, start, end - start))
            start = end
    return spans

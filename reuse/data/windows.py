"""The order in which rows that do not fit into memory are read: shuffled, and yet in runs that a disk reads fast.

An epoch is read window by window: each fits into memory and is shuffled there as a whole. A window is made of chunks,
short runs of neighbouring rows, and takes one chunk at random out of every stretch of the data. So it holds rows from
everywhere in the same proportions as the whole, whatever the data are sorted by, which chunks drawn at random from the
whole (the usual shuffle buffer) do not: their mix varies as that of a sample of so many chunks.
Stratified sampling: Cochran, Sampling Techniques (1977), chapter 5.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Generator, Tensor

CHUNK_BYTES = 2**20  # several of which a disk reads at once as fast as a long run
WINDOW_BYTES = 2**26  # two are in memory: one is used while the next is read


@dataclass(frozen=True)
class Windows:
    """Division of an epoch into windows.

    It depends on the rows alone, never on this machine, so that a run can be resumed elsewhere.

    Attributes:
        chunk_rows: rows that are next to each other in the data, and are read at once.
        window_rows: about how many are in memory and shuffled together.
    """

    chunk_rows: int
    window_rows: int

    def order(self, num_rows: int, generator: Generator) -> Tensor:
        """Return the numbers of all rows in the order of an epoch, `(rows,)` int64.

        Args:
            num_rows: of the data.
            generator: decides the order, on the CPU.
        """
        chunks, count = ceil(num_rows / self.chunk_rows), ceil(num_rows / self.window_rows)
        stretches = ceil(chunks / count)
        window_of_chunk = torch.rand(stretches, count, generator=generator).argsort(dim=1).flatten()
        shuffled = torch.randperm(num_rows, generator=generator)
        window = window_of_chunk[shuffled // self.chunk_rows]
        return shuffled[window.argsort(stable=True)]

    def portions(self, order: np.ndarray) -> list[tuple[int, int]]:
        """Return how to read rows in any order: the places in it where portions begin and end that fit into memory.

        A portion ends where all rows of its chunks were read, so that nothing is read twice; one that grows to much
        more than a window, as in an order that is not `order`'s, is divided all the same.

        Args:
            order: the numbers of rows, `(rows,)` int64.
        """
        chunk = order // self.chunk_rows
        last = np.zeros(int(chunk.max(initial=0)) + 1, np.int64)
        last[chunk] = np.arange(len(order))
        ends = np.flatnonzero(np.maximum.accumulate(last[chunk]) == np.arange(len(order))) + 1
        most, portions, start = 3 * self.window_rows // 2, list[tuple[int, int]](), 0
        while start < len(order):
            whole = ends[np.searchsorted(ends, start, side="right") :]
            fitting = whole[: np.searchsorted(whole, start + self.window_rows, side="right")]
            end = int(fitting[-1]) if len(fitting) else min(int(whole[0]), start + most)
            portions.append((start, end))
            start = end
        return portions


def windows_for(row_bytes: int) -> Windows:
    """Return the windows for rows of `row_bytes` bytes."""
    chunk_rows = max(1, CHUNK_BYTES // max(1, row_bytes))
    return Windows(chunk_rows, max(1, WINDOW_BYTES // max(1, chunk_rows * row_bytes)) * chunk_rows)

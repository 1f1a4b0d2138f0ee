"""Checking what a load reads, while it reads: a flipped bit is found and is not trained on."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat

import numpy as np
import torch

from reuse.caching.checking import checksum
from reuse.caching.damage import Damage, DamageError, block_damage
from reuse.caching.segment import Header, rows_of
from reuse.caching.stored_rows import StoredRows

Block = tuple[int, int]  # position of the segment in the headers, index of the block in the segment


class LoadCheck:
    """Comparison of rows with checksums as those of a split come into memory, portion by portion.

    Blocks of which a load reads at least half are checked as wholes, in other threads while more is read; of others,
    the units that its rows lie in.

    Args:
        stored: the rows that are loaded.
    """

    def __init__(self, stored: StoredRows) -> None:
        self._stored = stored
        self._threads = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
        self._begun: list[tuple[Block, Future[list[int]]]] = []
        self._due: set[Block] = set()
        for segment in np.unique(stored.segments).tolist():
            header = stored.headers[segment]
            wanted = np.zeros(header.rows, bool)
            wanted[stored.rows[stored.segments == segment]] = True
            for index, (start, stop) in enumerate(header.blocks):
                if 2 * np.count_nonzero(wanted[start:stop]) >= stop - start:
                    self._due.add((segment, index))

    def check(self, positions: np.ndarray, tensors: Sequence[torch.Tensor]) -> None:
        """Begin to check the blocks whose rows lie in order, and all of them, in a portion that was just read.

        The next portion may be read meanwhile; `finish` waits and raises.

        Args:
            positions: places in the split of the rows read, (rows,) int64.
            tensors: what was read, each (rows, …), on the CPU; not to be changed before `finish`.
        """
        if not all(tensor.numel() for tensor in tensors):  # rows without values: nothing to check in memory
            return
        raw = [tensor.reshape(len(tensor), -1).view(torch.uint8).numpy() for tensor in tensors]
        for block, first in self._in_order(positions):
            start, stop = self._bounds(block)
            self._due.remove(block)
            self._begin(block, [rows[first : first + stop - start] for rows in raw])

    def finish(self) -> None:
        """Wait for what was begun, and read once more the blocks that came in another order or in several portions.

        Raises:
            DamageError: rows are not what was written.
        """
        for segment, index in sorted(self._due):
            header, (start, stop) = self._stored.headers[segment], self._bounds((segment, index))
            self._begin((segment, index), [rows_of(header, place)[start:stop] for place in header.tensors])
        wrong: list[Damage] = []
        with self._threads:
            for block, found in self._begun:
                wrong += self._wrong(block, found.result())
        if wrong:
            raise DamageError(wrong)
        self._stored.check(np.arange(len(self._stored)))  # what no whole block has

    def _begin(self, block: Block, tensors: list[np.ndarray]) -> None:
        header = self._stored.headers[block[0]]
        self._begun.append((block, self._threads.submit(lambda: list(map(checksum, repeat(header), tensors)))))

    def _wrong(self, block: Block, found: list[int]) -> list[Damage]:
        """Return the damage to a block: the units of it that are wrong, or all of it where these are right."""
        header, verifier = self._header(block), self._stored.verifier
        recorded = rows_of(header, header.checksums)[block[1]].tolist()
        wrong = [t.name for t, now, then in zip(header.frontier, found, recorded, strict=False) if now != then]
        if not wrong:
            verifier.take_block(*block)
            return []
        units = verifier.wrong_units(*block)
        return [block_damage(header, block[1], name) for name in wrong] if units is None else units

    def _in_order(self, positions: np.ndarray) -> Iterator[tuple[Block, int]]:
        """Yield the due blocks that a portion holds in the order of the file, and where in the portion each begins."""
        segments, rows = self._stored.segments[positions], self._stored.rows[positions]
        for segment in np.unique(segments).tolist():
            header = self._stored.headers[segment]
            at = np.full(header.rows, -1)
            at[rows[segments == segment]] = np.flatnonzero(segments == segment)
            for index, (start, stop) in enumerate(header.blocks):
                first = int(at[start])
                if (segment, index) in self._due and first >= 0 and (np.diff(at[start:stop]) == 1).all():
                    yield (segment, index), first

    def _header(self, block: Block) -> Header:
        return self._stored.headers[block[0]]

    def _bounds(self, block: Block) -> tuple[int, int]:
        return self._header(block).blocks[block[1]]

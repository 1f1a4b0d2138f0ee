"""Checksums of blocks: taking them, and finding the blocks that no longer have theirs."""

import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xxhash import xxh3_64_intdigest

from reuse.caching.header import Header
from reuse.caching.segment import read_header
from reuse.caching.segment_rows import read_run, rows_of
from reuse.errors import CacheError

PART_BYTES = 2**21  # read at once
Wrong = tuple[tuple[int, int], int]  # first row of a block and row after the last, and which data set
KINDS: dict[int, Callable[[memoryview], int]] = {4: zlib.crc32, 8: xxh3_64_intdigest}  # by their bytes


@dataclass(frozen=True)
class Problem:
    """Damage to a cache: the file, and what is wrong with it."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def checksum(header: Header, rows: np.ndarray) -> int:
    """Return the checksum of the bytes of contiguous rows, of the kind that a segment has."""
    return checksum_of(header)(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)


def checksum_of(header: Header) -> Callable[[memoryview], int]:
    """Return the checksum function of a segment: XXH3, which is as fast as memory, or CRC-32 in older ones."""
    return KINDS[header.checksums.storage.itemsize]


def block_checksums(header: Header, start: int, stop: int) -> tuple[int, ...]:
    """Return the checksums of rows `start` to `stop` of every data set as they are in the file."""
    return tuple(checksum(header, rows_of(header, place)[header.part(place, start, stop)]) for place in header.checked)


def wrong_keys(header: Header) -> list[int]:
    """Return the blocks whose row keys are not what was written: whose rows they are is not known any more."""
    keys, recorded = rows_of(header, header.row_key), rows_of(header, header.checksums)[:, len(header.tensors)]
    now = (checksum(header, keys[start:stop]) for start, stop in header.blocks)
    return [block for block, found in enumerate(now) if found != recorded[block]]


def check_segment(path: Path, prefix_key: str, aside: Collection[tuple[int, int]] = ()) -> list[Problem]:
    """Read a published segment whole, at disk speed, and return what is wrong with it.

    Args:
        path: of the segment.
        prefix_key: of its prefix.
        aside: ranges of rows that are set aside: what is wrong with these is known.
    """
    try:
        header = read_header(path)
        if header.prefix_key != prefix_key:
            return [Problem(path, f"it belongs to prefix {header.prefix_key}, not to {prefix_key}")]
        wrong = [(rows, column) for found in _checked_parts(header) for rows, column in found]
        return [_problem(header, *rows, column) for rows, column in wrong if not _is_known(header, *rows, aside)]
    except CacheError as error:
        return [Problem(path, str(error))]


def unit_table(header: Header) -> np.ndarray:
    """Return the recorded checksums of all units, `(blocks, units, tensors)`; without units, those of blocks."""
    if header.units:
        return rows_of(header, header.units)
    return rows_of(header, header.checksums)[:, None, : len(header.tensors)]


def unit_checksums(header: Header, tensors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the checksums of the units of a block, `(1, units, tensors)` uint64, 0 where the last block has no unit.

    Args:
        header: of the segment.
        tensors: the rows of the block of each tensor.
    """
    table = np.zeros((1, header.block_units, len(tensors)), np.uint64)  # of CRC-32 too
    take, units = checksum_of(header), -(-len(tensors[0]) // header.unit_rows) if tensors else 0
    for column, rows in enumerate(tensors):
        content = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        step = header.unit_rows * header.tensors[column].row_bytes
        table[0, :units, column] = [take(content[at * step : (at + 1) * step]) for at in range(units)]
    return table


@dataclass(frozen=True)
class _Part:
    """Neighbouring blocks of a data set, which are read at once.

    Attributes:
        column: index of the data set among those that have checksums.
        blocks: number, first row and row after the last of each block.
        rows: the rows of the data set that they cover.
    """

    column: int
    blocks: Sequence[tuple[int, int, int]]
    rows: slice


def _problem(header: Header, start: int, stop: int, column: int) -> Problem:
    what = f"rows {start} to {stop - 1} of {header.checked_names[column]} are not what was written"
    return Problem(header.path, f"{what} (wrong checksum)")


def _is_known(header: Header, start: int, stop: int, aside: Collection[tuple[int, int]]) -> bool:
    """Return whether each unit of a block that is not what was written is set aside."""
    if not any(first < stop and start < end for first, end in aside):
        return False
    tensors = [rows_of(header, place)[start:stop] for place in header.tensors]
    recorded = unit_table(header)[start // header.block_rows]
    wrong = np.flatnonzero((unit_checksums(header, tensors)[0] != recorded).any(1))
    starts, stops = header.bounds(start // header.block_rows * header.block_units + wrong)
    return all(any(f <= a and b <= e for f, e in aside) for a, b in zip(starts.tolist(), stops.tolist(), strict=True))


def _checked_parts(header: Header) -> Iterator[list[Wrong]]:
    """Read one part after another, and meanwhile take the checksums of the part before.

    Four threads that read parts of their own took a third longer on a disk as fast as memory.
    """
    parts, recorded = _parts(header), rows_of(header, header.checksums)
    largest = max((_bytes(header, part) for part in parts), default=0)
    memory = [memoryview(bytearray(largest)) for _ in range(2)]  # new memory would cost more time than reading into it
    before: Future[list[Wrong]] | None = None
    with ThreadPoolExecutor(1) as checker:
        for number, part in enumerate(parts):
            content = memory[number % 2][: _bytes(header, part)]
            read_run(header, header.checked[part.column], part.rows.start, content)
            if before is not None:
                yield before.result()
            before = checker.submit(_wrong_blocks, header, part, content, recorded)
        if before is not None:
            yield before.result()


def _parts(header: Header) -> list[_Part]:
    blocks = [(number, start, stop) for number, (start, stop) in enumerate(header.blocks)]
    parts = []
    for column, place in enumerate(header.checked):
        block_bytes = place.row_bytes * (1 if place.per_block else header.block_rows)
        count = max(1, PART_BYTES // max(1, block_bytes))
        for at in range(0, len(blocks), count):
            some = blocks[at : at + count]
            first, last = (header.part(place, start, stop) for _, start, stop in (some[0], some[-1]))
            parts.append(_Part(column, some, slice(first.start, last.stop)))
    return parts


def _bytes(header: Header, part: _Part) -> int:
    return int(part.rows.stop - part.rows.start) * header.checked[part.column].row_bytes


def _wrong_blocks(header: Header, part: _Part, content: memoryview, recorded: np.ndarray) -> list[Wrong]:
    place, take, wrong = header.checked[part.column], checksum_of(header), list[Wrong]()
    for number, start, stop in part.blocks:
        rows = header.part(place, start, stop)
        first, end = ((row - part.rows.start) * place.row_bytes for row in (rows.start, rows.stop))
        if take(content[first:end]) != recorded[number, part.column]:
            wrong.append(((start, stop), part.column))
    return wrong

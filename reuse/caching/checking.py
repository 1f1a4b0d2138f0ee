"""Checksums of blocks: taking them, and finding the blocks that no longer have theirs."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xxhash import xxh3_64_intdigest

from reuse.caching.segment import Header, read_header, read_run, rows_of
from reuse.errors import CacheError

PART_BYTES = 2**21  # read at once
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


def check_segment(path: Path, prefix_key: str) -> list[Problem]:
    """Read a published segment whole, at disk speed, and return what is wrong with it."""
    try:
        header = read_header(path)
        if header.prefix_key != prefix_key:
            return [Problem(path, f"it belongs to prefix {header.prefix_key}, not to {prefix_key}")]
        return [problem for problems in _checked_parts(header) for problem in problems]
    except CacheError as error:
        return [Problem(path, str(error))]


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


def _checked_parts(header: Header) -> Iterator[list[Problem]]:
    """Read one part after another, and meanwhile take the checksums of the part before.

    Four threads that read parts of their own took a third longer on a disk as fast as memory.
    """
    parts, recorded = _parts(header), rows_of(header, header.checksums)
    largest = max((_bytes(header, part) for part in parts), default=0)
    memory = [memoryview(bytearray(largest)) for _ in range(2)]  # new memory would cost more time than reading into it
    before: Future[list[Problem]] | None = None
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


def _wrong_blocks(header: Header, part: _Part, content: memoryview, recorded: np.ndarray) -> list[Problem]:
    place, take, problems = header.checked[part.column], checksum_of(header), []
    for number, start, stop in part.blocks:
        rows = header.part(place, start, stop)
        first, end = ((row - part.rows.start) * place.row_bytes for row in (rows.start, rows.stop))
        if take(content[first:end]) != recorded[number, part.column]:
            what = f"rows {start} to {stop - 1} of {header.checked_names[part.column]} are not what was written"
            problems.append(Problem(header.path, f"{what} (wrong checksum)"))
    return problems

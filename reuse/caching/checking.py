"""Checksums of blocks: taking them, and finding the blocks that no longer have theirs."""

import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xxhash import xxh3_64_intdigest

from reuse.caching.segment import Header, read_header, read_run, rows_of
from reuse.errors import CacheError

PART_BYTES = 2**23  # read at once by a thread
KINDS: dict[int, Callable[[memoryview], int]] = {4: zlib.crc32, 8: xxh3_64_intdigest}  # by their bytes


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a cache: in which file, and what."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def checksum(header: Header, rows: np.ndarray) -> int:
    """Return the checksum of the bytes of contiguous rows, of the kind that a segment has."""
    return checksum_of(header)(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)


def checksum_of(header: Header) -> Callable[[memoryview], int]:
    """Return what takes the checksums of a segment: XXH3, which is as fast as memory, or CRC-32 in older ones."""
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
        with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as threads:
            found = list(threads.map(lambda part: list(_wrong_blocks(header, *part)), _parts(header)))
    except CacheError as error:
        return [Problem(path, str(error))]
    return [problem for problems in found for problem in problems]


def _parts(header: Header) -> list[tuple[int, list[int]]]:
    """Return what is read at once: a column of the checksums, and the numbers of neighbouring blocks."""
    parts = []
    for column, place in enumerate(header.checked):
        block_bytes = place.row_bytes * (1 if place.per_block else header.block_rows)
        count = max(1, PART_BYTES // max(1, block_bytes))
        numbers = list(range(len(header.blocks)))
        parts += [(column, numbers[at : at + count]) for at in range(0, len(numbers), count)]
    return parts


def _wrong_blocks(header: Header, column: int, blocks: list[int]) -> Iterator[Problem]:
    place, recorded, take = header.checked[column], rows_of(header, header.checksums), checksum_of(header)
    bounds = [header.blocks[number] for number in blocks]
    rows = [header.part(place, start, stop) for start, stop in bounds]
    # Read, not mapped: the disk is asked for long runs, and no page is touched twice.
    content = memoryview(bytearray((rows[-1].stop - rows[0].start) * place.row_bytes))
    read_run(header, place, rows[0].start, content)
    for number, part, (start, stop) in zip(blocks, rows, bounds, strict=True):
        first, end = ((row - rows[0].start) * place.row_bytes for row in (part.start, part.stop))
        if take(content[first:end]) != recorded[number, column]:
            what = f"rows {start} to {stop - 1} of {header.checked_names[column]} are not what was written"
            yield Problem(header.path, f"{what} (wrong checksum)")

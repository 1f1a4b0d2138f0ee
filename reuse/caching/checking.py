"""Checksums of blocks: taking them, and finding the blocks that no longer have theirs."""

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reuse.caching.segment import Header, Place, read_header, rows_of
from reuse.errors import CacheError


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a cache: in which file, and what."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def checksum(rows: np.ndarray) -> int:
    """Return the CRC-32 of the bytes of contiguous rows."""
    return zlib.crc32(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)


def block_checksums(header: Header, start: int, stop: int) -> tuple[int, ...]:
    """Return the CRC-32 of rows `start` to `stop` of every data set as they are in the file, row keys last."""
    return tuple(checksum(rows_of(header, place)[header.part(place, start, stop)]) for place in header.checked)


def check_segment(path: Path, prefix_key: str) -> list[Problem]:
    """Read a published segment whole, at disk speed, and return what is wrong with it."""
    try:
        header = read_header(path)
        if header.prefix_key != prefix_key:
            return [Problem(path, f"it belongs to prefix {header.prefix_key}, not to {prefix_key}")]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            found = list(threads.map(lambda place: list(_wrong_blocks(header, place)), header.checked))
    except CacheError as error:
        return [Problem(path, str(error))]
    return [problem for problems in found for problem in problems]


def _wrong_blocks(header: Header, place: Place) -> Iterator[Problem]:
    column = header.checked.index(place)
    name = header.checked_names[column]
    recorded = rows_of(header, header.block_crc)
    rows = rows_of(header, place)
    for index, (start, stop) in enumerate(header.blocks):
        if checksum(rows[header.part(place, start, stop)]) != recorded[index, column]:
            yield Problem(header.path, f"rows {start} to {stop - 1} of {name} are not what was written (wrong CRC-32)")

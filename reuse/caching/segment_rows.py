"""Rows of a published segment, read past HDF5, and what is raised where they are no longer there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO

import numpy as np

from reuse.caching.header import Header, Place
from reuse.caching.segment import identity_of
from reuse.errors import CacheError


class HarmedRowsError(CacheError):
    """Rows that were published cannot be served; they are mended by computing them again."""


class LostRowsError(HarmedRowsError):
    """Rows that were published are no longer there as they were: their file is gone, cut off, or another one."""


def rows_of(header: Header, place: Place) -> np.ndarray:
    """Map a data set into memory, read on access and never written; `(rows, …)` of its storage type.

    Raises:
        LostRowsError: the file is gone or another has taken its name since the header was read.
    """
    if place.end == place.offset:
        return np.empty(place.shape, place.storage)
    with same_file(header) as file:
        # Copy-on-write: torch refuses to look at read-only memory without a warning; the file cannot be changed.
        return np.memmap(file, place.storage, "c", place.offset, place.shape)


def read_run(header: Header, place: Place, first: int, target: memoryview) -> None:
    """Fill `target`, bytes of whole rows, with the rows of a data set from row `first` on.

    For long runs: a map costs a page fault every few pages, which takes longer than the copy.

    Raises:
        LostRowsError: the file is gone, shorter, or another has taken its name since the header was read.
    """
    with same_file(header) as file:
        read_into(target, file, header, place, first)


def read_into(target: memoryview, file: FileIO, header: Header, place: Place, first: int) -> None:
    """Do what `read_run` does, from a file that `same_file` has opened."""
    file.seek(place.offset + first * place.row_bytes)
    while target:
        count = file.readinto(target)
        if not count:
            raise _cut_off(header)
        target = target[count:]


def require_whole(header: Header) -> None:
    """Refuse a file that was cut off since its header was read: to touch what a map lacks would end the process.

    A file that is gone stays readable through the maps that are open.

    Raises:
        LostRowsError: it is shorter than it was.
    """
    with suppress(FileNotFoundError):
        status = header.path.stat()
        if status.st_ino == header.identity[0] and status.st_size < header.identity[1]:
            raise _cut_off(header)


def _cut_off(header: Header) -> LostRowsError:
    return LostRowsError(f"cache file {header.path} was cut off while in use: open the cache again")


def row_keys(header: Header) -> np.ndarray:
    """Return the segment's row keys, `(rows, 16)` uint8, in memory."""
    return np.array(rows_of(header, header.row_key))


@contextmanager
def same_file(header: Header) -> Iterator[FileIO]:
    """Open a segment's file for reading.

    Raises:
        LostRowsError: it cannot be read, or another has taken its name since the header was read.
    """
    try:
        with FileIO(header.path) as file:
            if identity_of(os.fstat(file.fileno())) != header.identity:
                raise LostRowsError(f"cache file {header.path} was replaced while in use: open the cache again")
            yield file
    except OSError as error:
        raise LostRowsError(
            f"cache file {header.path} can no longer be read ({error}): open the cache again"
        ) from error

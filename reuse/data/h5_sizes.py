"""How much memory an HDF5 file takes when it is read, which may be any multiple of what it takes on the disk."""

import math
import mmap
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from reuse.files import UnfitFileError, check_fits, open_regular, room

SLICE_SHARE = 8  # one part in eight of what a file may take may go for texts that are read at once
# Texts of any length lie in heaps, each of which begins so, and says in eight bytes behind it how long it is.
HEAP, HEAP_LENGTH = b"GCOL\1\0\0\0", 8
GZIP, LZF = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_LZF
GROWTH = {GZIP: 1032, LZF: 264}  # how many bytes at most a packed one becomes


def check_chunks(item: h5py.Dataset) -> None:
    """Raise where a chunk of a data set, or what it unpacks to, would not fit in memory.

    Raises:
        UnfitFileError: the message says how much it would take, or that it holds more than it says.
    """
    if item.chunks is None:
        return
    whole = math.prod(item.chunks) * item.id.get_type().get_size()
    check_fits(whole)
    made = item.id.get_create_plist()
    packers = [made.get_filter(place)[0] for place in range(made.get_nfilters())]
    growth = math.prod(GROWTH.get(packer, 1) for packer in packers)
    chunks: list[h5py.h5d.StoreInfo] = []
    if growth > 1:
        item.id.chunk_iter(chunks.append)
    check_fits(max((chunk.size for chunk in chunks), default=0))
    for chunk in chunks:
        if chunk.size * growth > (most := room()):
            if growth != GROWTH[GZIP]:
                check_fits(chunk.size * growth, most)
            _check_unpacked(item, chunk, packers.index(GZIP), whole)


def _check_unpacked(item: h5py.Dataset, chunk: h5py.h5d.StoreInfo, place: int, whole: int) -> None:
    """Raise where a chunk that gzip has packed, as the filter of that place, holds more than a chunk does."""
    skipped, packed = item.id.read_direct_chunk(chunk.chunk_offset)
    if not skipped >> place & 1 and len(zlib.decompressobj().decompress(packed, whole + 1)) > whole:
        raise UnfitFileError(f"a chunk of {item.name} unpacks to more than it says")


def read_texts(path: Path, item: h5py.Dataset) -> np.ndarray:
    """Return texts as an array of objects, read a few at a time.

    Any number of them may share one place in the file, so that they take more than the file: they are counted as they
    come.

    Args:
        path: the file.
        item: texts in UTF-8, of any shape.

    Raises:
        UnfitFileError: they would not fit in memory.
        UnicodeDecodeError: they are in no UTF-8.
    """
    longest = _longest_text(path) if h5py.check_string_dtype(item.dtype).length is None else item.dtype.itemsize
    texts, taken, most = np.empty(item.shape, object), 0, room()
    for rows in _slices(item.shape, longest, most):
        texts[rows] = item.asstr("utf-8")[rows]
        taken += sum(map(sys.getsizeof, np.asarray(texts[rows], object).flat))
        check_fits(taken, most)
    return texts


def _slices(shape: tuple[int, ...], longest: int, most: int) -> Iterator[tuple[slice, ...] | tuple[()]]:
    """Yield what is read at once of texts: so little that it takes a part of `most` bytes if each is as long as any."""
    a_row = max(1, longest * math.prod(shape[1:]))
    check_fits(a_row, most)
    step = max(1, most // SLICE_SHARE // a_row)
    yield from [(slice(begin, begin + step),) for begin in range(0, shape[0], step)] if shape else [()]


def _longest_text(path: Path) -> int:
    """Return the bytes that no text of a file is longer than: those of its largest heap."""
    longest = 0
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(HEAP)
        while place >= 0:
            begin = place + len(HEAP)
            size = int.from_bytes(content[begin : begin + HEAP_LENGTH], "little")
            longest = max(longest, size if size <= len(content) else 0)
            place = content.find(HEAP, begin)
    return longest

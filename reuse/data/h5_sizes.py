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
ADDED_BYTES = 1024  # more than what filters add to a chunk before it is packed, or behind: checksums, scales


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
            if growth not in GROWTH.values():
                check_fits(chunk.size * growth, most)
            packer = GZIP if growth == GROWTH[GZIP] else LZF
            _check_unpacked(item, chunk, packer, packers.index(packer), whole + ADDED_BYTES)


def _check_unpacked(item: h5py.Dataset, chunk: h5py.h5d.StoreInfo, packer: int, place: int, most: int) -> None:
    """Raise where a chunk unpacks to more than some bytes; its packer is the filter of a place."""
    skipped, packed = item.id.read_direct_chunk(chunk.chunk_offset)
    if skipped >> place & 1:
        return
    unpacked = _lzf_bytes(packed) if packer == LZF else len(zlib.decompressobj().decompress(packed, most + 1))
    if unpacked > most:
        raise UnfitFileError(f"a chunk of {item.name} unpacks to more than it says")


def _lzf_bytes(packed: bytes) -> int:
    """Return how many bytes LZF has packed: runs of up to 32 as they are, and repetitions of earlier ones.

    The format is that of liblzf: http://oldhome.schmorp.de/marc/liblzf.html.
    """
    place, unpacked = 0, 0
    while place < len(packed):
        mark = packed[place]
        if mark < 32:
            place, unpacked = place + mark + 2, unpacked + mark + 1
        else:
            is_long = mark >> 5 == 7 and place + 1 < len(packed)
            unpacked += (mark >> 5) + 2 + (packed[place + 1] if is_long else 0)
            place += 3 if is_long else 2
    return unpacked


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
    for some in _boxes(item.shape, max(1, most // SLICE_SHARE // max(1, longest))):
        texts[some] = item.asstr("utf-8")[some]
        taken += sum(map(sys.getsizeof, np.asarray(texts[some], object).flat))
        check_fits(taken, most)
    return texts


def _boxes(shape: tuple[int, ...], count: int) -> Iterator[tuple[slice, ...]]:
    """Yield parts of an array that are read at once, none of more than `count` values."""
    if not shape:
        yield ()
    elif step := count // max(1, math.prod(shape[1:])):
        yield from ((slice(begin, begin + step),) for begin in range(0, shape[0], step))
    else:
        rows = (slice(row, row + 1) for row in range(shape[0]))
        yield from ((row, *box) for row in rows for box in _boxes(shape[1:], count))


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

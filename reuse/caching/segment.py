"""The format of a segment: an HDF5 file of contiguous, aligned data sets that is laid out here and read by offset.

    /frontier/<i>_<name>   (rows, …)        one a frontier tensor, uncompressed
    /row_key               (rows, 16)       digest of the content and the view of each row
    /scale/<i>_<name>      (blocks, 2, channels)  low and step of each block's codes, of tensors stored in 8 bits only
    /unit_checksum         (blocks, units, tensors)  XXH3 (64 bits) of every unit of a block, 128 KB of rows or one row
    /block_checksum        (blocks, sets)   XXH3 (64 bits) of every block of rows of every data set in the order above

Reading rows checks the units that they lie in. Older segments have units of a page, or none: a block is one there.

HDF5 (1.10 format, whose metadata carries checksums of its own) describes the file; rows are written and read past it.
No HDF5 handle outlives a call: one that is inherited by a forked process returns wrong data.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import h5py
import numpy as np
import torch

from reuse.caching.header import Header, Place, check_layout
from reuse.caching.labelling import (
    WORDS_ON_KEYS,
    words_on_checksums,
    words_on_file,
    words_on_scales,
    words_on_tensor,
    words_on_units,
)
from reuse.caching.packing import QuantizedTensor, quantized
from reuse.caching.storage import STORAGE, row_bytes, storage_of
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor

FORMAT = 1
KEY_BYTES = 16
PAGE = 4096
UNIT_BYTES = 2**17  # a system that reads ahead reads no less, and calls for smaller ones cost more than XXH3


class UnreadableSegmentError(CacheError):
    """A published file is no whole segment: cut off, its metadata broken, or of another prefix.

    Attributes:
        path: of the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(str(damaged(path, reason)))

    def __reduce__(self) -> tuple[type["UnreadableSegmentError"], tuple[Path, str]]:
        return UnreadableSegmentError, (self.path, self.reason)


def identify(path: Path) -> tuple[int, ...]:
    """Return what changes when another file takes the name `path`: inode, size and time of the last change."""
    return identity_of(path.stat())


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return the identity in a `stat` result; see `identify`."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def lay_out(path: Path, prefix_key: str, frontier: Sequence[FrontierTensor], rows: int, block_rows: int) -> None:
    """Create the segment's file at its full size, described but without content.

    Raises:
        OSError: it cannot be written.
    """
    with (
        _errors_of_the_disk(),
        h5py.File(
            path, "w", libver=("v110", "v110"), locking=False, alignment_threshold=1, alignment_interval=PAGE
        ) as file,
    ):
        file.create_group("frontier")
        num_blocks, scaled = ceil(rows / block_rows), quantized(frontier)
        file.attrs.update(words_on_file(FORMAT, prefix_key, frontier, rows, block_rows))
        for index, tensor in enumerate(frontier):
            data_set = _preallocated(file, _name("frontier", index, tensor), (rows, *tensor.shape), storage_of(tensor))
            data_set.attrs.update(words_on_tensor(tensor))
        row_key = _preallocated(file, "row_key", (rows, KEY_BYTES), np.dtype(np.uint8))
        row_key.attrs["what_this_is"] = WORDS_ON_KEYS
        if scaled:
            file.create_group("scale")
        for index, tensor in enumerate(scaled):
            shape = (num_blocks, 2, tensor.channels)
            scale = _preallocated(file, _name("scale", index, tensor), shape, np.dtype("<f4"))
            scale.attrs.update(words_on_scales(tensor, block_rows))
        unit_rows = _unit_rows(frontier, block_rows)
        shape = (num_blocks, ceil(block_rows / unit_rows), len(frontier))
        units = _preallocated(file, "unit_checksum", shape, np.dtype("<u8"))
        units.attrs.update(words_on_units(unit_rows))
        columns = len(frontier) + 1 + len(scaled) + 1
        checksums = _preallocated(file, "block_checksum", (num_blocks, columns), np.dtype("<u8"))
        checksums.attrs["what_this_is"] = words_on_checksums(block_rows)


def read_header(path: Path) -> Header:
    """Read where everything lies in the segment at `path`, and check that the file is long enough to hold it.

    Raises:
        UnreadableSegmentError: the file is truncated, damaged, or no segment.
        CacheError: it is missing or may not be read, or is a segment of another format.
    """
    try:
        identity = identify(path)
        with h5py.File(path, "r", locking=False) as file:
            header = _header(file, path, identity)
            check_layout(header)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:  # the system's word, and none on the content
            raise CacheError(f"cache file {path} cannot be read ({reason})") from error
        raise UnreadableSegmentError(path, reason) from error
    needed = max(place.end for place in (*header.checked, header.checksums))
    if identity[1] < needed:
        raise UnreadableSegmentError(path, f"it has {identity[1]} bytes and should have at least {needed}")
    return header


def damaged(path: Path, reason: str) -> CacheError:
    """Return the error for a published file that cannot be read."""
    return CacheError(
        f"cache file {path} is damaged ({reason}): `reuse cache verify` checks every file, "
        f"`reuse cache clear {path.parent.name}` removes this prefix so that it is computed again"
    )


@contextmanager
def _errors_of_the_disk() -> Iterator[None]:
    """Raise an `OSError` where HDF5 wraps one, as when the disk is full while it closes a file."""
    try:
        yield
    except RuntimeError as error:
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _preallocated(file: h5py.File, name: str, shape: tuple[int, ...], storage: np.dtype[np.generic]) -> h5py.Dataset:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space, kind = h5py.h5s.create_simple(shape), h5py.h5t.py_create(storage, logical=True)
    return h5py.Dataset(h5py.h5d.create(file.id, name.encode(), kind, space, creation))


def unit_bytes(frontier: Sequence[FrontierTensor], rows: int, block_rows: int) -> int:
    """Return the bytes that the checksums of the units of a segment take."""
    return 8 * len(frontier) * ceil(rows / block_rows) * ceil(block_rows / _unit_rows(frontier, block_rows))


def _unit_rows(frontier: Sequence[FrontierTensor], block_rows: int) -> int:
    return min(block_rows, max(1, UNIT_BYTES // max(1, row_bytes(frontier))))


def _header(file: h5py.File, path: Path, identity: tuple[int, ...]) -> Header:
    form = file.attrs.get("format")
    if isinstance(form, int | np.integer) and form > FORMAT:
        raise CacheError(
            f"cache file {path} is of format {form}, and this version of reuse reads format {FORMAT}: "
            "install the version that wrote it, or name another cache-dir"
        )
    if form != FORMAT:
        raise ValueError(f"format {form} where {FORMAT} is expected")
    data_sets = _in_order(file["frontier"])
    frontier = tuple(map(_frontier_tensor, data_sets))
    for index, (data_set, tensor) in enumerate(zip(data_sets, frontier, strict=True)):
        # The names of data sets have a checksum in the file, attributes of text have none.
        if data_set.name != "/" + _name("frontier", index, tensor):
            raise ValueError(f"its data set {data_set.name} is called {tensor.name!r}")
    units, block_rows = file.get("unit_checksum"), int(file.attrs["block_rows"])
    return Header(
        path=path,
        identity=identity,
        prefix_key=str(file.attrs["prefix_key"]),
        rows=int(file.attrs["rows"]),
        block_rows=block_rows,
        frontier=frontier,
        tensors=tuple(map(_place, data_sets)),
        row_key=_place(file["row_key"]),
        scales=tuple(_place(data_set, per_block=True) for data_set in _in_order(file.get("scale", {}))),
        checksums=_place(file.get("block_checksum") or file["block_crc"]),  # CRC-32 in older segments
        units=None if units is None else _place(units, per_block=True),
        unit_rows=block_rows if units is None else int(units.attrs["unit_rows"]),
    )


def _frontier_tensor(data_set: h5py.Dataset) -> FrontierTensor:
    kind = QuantizedTensor if data_set.attrs.get("quantized") else FrontierTensor
    name = str(data_set.attrs["torch_dtype"])
    if data_set.dtype.str != STORAGE.get(name):
        raise ValueError(f"its data set {data_set.name} holds {data_set.dtype} for {name}")
    return kind(str(data_set.attrs["layer"]), tuple(map(int, data_set.shape[1:])), getattr(torch, name))


def _place(data_set: h5py.Dataset, per_block: bool = False) -> Place:
    offset = data_set.id.get_offset()
    if offset is None and data_set.size:
        raise ValueError(f"its data set {data_set.name} does not lie in one piece in the file")
    return Place(offset or 0, tuple(map(int, data_set.shape)), data_set.dtype, per_block)


def _name(group: str, index: int, tensor: FrontierTensor) -> str:
    return f"{group}/{index}_{tensor.name.replace('/', '_')}"


def _in_order(group: Mapping[str, h5py.Dataset]) -> list[h5py.Dataset]:
    return [group[name] for name in sorted(group, key=lambda name: int(name.split("_")[0]))]

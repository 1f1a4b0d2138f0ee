"""The format of a segment: an HDF5 file of contiguous, aligned data sets that is laid out here and read by offset.

    /frontier/<i>_<name>   (rows, …)        one a frontier tensor, uncompressed
    /row_key               (rows, 16)       digest of the content and the view of each row
    /block_crc             (blocks, sets)   CRC-32 of every block of rows of every data set, row keys last

HDF5 (1.10 format, whose metadata carries checksums of its own) describes the file; rows are written and read past it.
No HDF5 handle outlives a call: one that is inherited by a forked process returns wrong data.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from math import ceil
from pathlib import Path

import h5py
import numpy as np
import torch

from reuse.caching.storage import describe, storage_of
from reuse.devices import dtype_name
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor

FORMAT = 1
KEY_BYTES = 16
PAGE = 4096


@dataclass(frozen=True)
class Place:
    """Where one data set lies in the file: `shape` values of type `storage` from byte `offset`."""

    offset: int
    shape: tuple[int, ...]
    storage: np.dtype[np.generic]

    @property
    def row_bytes(self) -> int:
        """The bytes of one row (one step along the first dimension)."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.storage.itemsize

    @property
    def end(self) -> int:
        """The first byte after the data set."""
        return self.offset + self.shape[0] * self.row_bytes


@dataclass(frozen=True)
class Header:
    """All that is needed to read or write a segment's rows: no handle, so it crosses processes.

    `identity` tells the file from another that has its name later.
    """

    path: Path
    identity: tuple[int, ...]
    prefix_key: str
    rows: int
    block_rows: int
    frontier: tuple[FrontierTensor, ...]
    tensors: tuple[Place, ...]
    row_key: Place
    block_crc: Place

    @property
    def checked(self) -> tuple[Place, ...]:
        """The data sets that `block_crc` covers, in its order."""
        return (*self.tensors, self.row_key)

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """First row and row after the last of each block."""
        return [(at, min(at + self.block_rows, self.rows)) for at in range(0, self.rows, self.block_rows)]


def identify(path: Path) -> tuple[int, ...]:
    """Return what changes when another file takes the name `path`: inode, size and time of the last change."""
    return identity_of(path.stat())


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return the identity in a `stat` result; see `identify`."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def lay_out(path: Path, prefix_key: str, frontier: Sequence[FrontierTensor], rows: int, block_rows: int) -> None:
    """Create the segment's file at its full size, described but without content."""
    with h5py.File(
        path, "w", libver=("v110", "v110"), locking=False, alignment_threshold=1, alignment_interval=PAGE
    ) as file:
        file.attrs.update(_words_on_file(prefix_key, frontier, rows, block_rows))
        file.create_group("frontier")
        for index, tensor in enumerate(frontier):
            name = f"frontier/{index}_{tensor.name.replace('/', '_')}"
            data_set = _preallocated(file, name, (rows, *tensor.shape), storage_of(tensor))
            data_set.attrs.update(_words_on_tensor(tensor))
        row_key = _preallocated(file, "row_key", (rows, KEY_BYTES), np.dtype(np.uint8))
        row_key.attrs["what_this_is"] = "128-bit digest of the content and the view of the row at the same index"
        num_blocks = ceil(rows / block_rows)
        block_crc = _preallocated(file, "block_crc", (num_blocks, len(frontier) + 1), np.dtype("<u4"))
        block_crc.attrs["what_this_is"] = (
            f"CRC-32 (zlib) of each block of {block_rows} rows; one column a frontier data set in order, row_key last"
        )


def read_header(path: Path) -> Header:
    """Read where everything lies in the segment at `path`, and check that the file is long enough to hold it.

    Raises:
        CacheError: the file is missing, truncated, damaged, or not a segment of this format.
    """
    try:
        identity = identify(path)
        with h5py.File(path, "r", locking=False) as file:
            header = _header(file, path, identity)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise damaged(path, reason) from error
    needed = max(place.end for place in (*header.checked, header.block_crc))
    if identity[1] < needed:
        raise damaged(path, f"it has {identity[1]} bytes and should have at least {needed}")
    return header


def damaged(path: Path, reason: str) -> CacheError:
    """Return the error for a published file that cannot be read."""
    return CacheError(
        f"cache file {path} is damaged ({reason}): `reuse cache verify` checks every file, "
        f"`reuse cache clear {path.parent.name}` removes this prefix so that it is computed again"
    )


def rows_of(header: Header, place: Place) -> np.ndarray:
    """Map a data set into memory, read on access and never written; `(rows, …)` of its storage type.

    Raises:
        CacheError: the file is gone or another has taken its name since the header was read.
    """
    if place.end == place.offset:
        return np.empty(place.shape, place.storage)
    with _same_file(header) as file:
        # Copy-on-write: torch refuses to look at read-only memory without a warning; the file cannot be changed.
        return np.memmap(file, place.storage, "c", place.offset, place.shape)


def read_run(header: Header, place: Place, first: int, target: memoryview) -> None:
    """Fill `target`, bytes of whole rows, with the rows of a data set from row `first` on.

    For long runs: a map costs a page fault every few pages, which takes longer than the copy.

    Raises:
        CacheError: the file is gone, shorter, or another has taken its name since the header was read.
    """
    with _same_file(header) as file:
        file.seek(place.offset + first * place.row_bytes)
        while target:
            count = file.readinto(target)
            if not count:
                raise damaged(header.path, "it ends before its last row")
            target = target[count:]


def row_keys(header: Header) -> np.ndarray:
    """Return the segment's row keys, `(rows, 16)` uint8, in memory."""
    return np.array(rows_of(header, header.row_key))


@contextmanager
def _same_file(header: Header) -> Iterator[FileIO]:
    try:
        with FileIO(header.path) as file:
            if identity_of(os.fstat(file.fileno())) != header.identity:
                raise CacheError(f"cache file {header.path} was replaced while in use: open the cache again")
            yield file
    except OSError as error:
        raise CacheError(f"cache file {header.path} can no longer be read ({error}): open the cache again") from error


def _preallocated(file: h5py.File, name: str, shape: tuple[int, ...], storage: np.dtype[np.generic]) -> h5py.Dataset:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space, kind = h5py.h5s.create_simple(shape), h5py.h5t.py_create(storage, logical=True)
    return h5py.Dataset(h5py.h5d.create(file.id, name.encode(), kind, space, creation))


def _words_on_file(
    prefix_key: str, frontier: Sequence[FrontierTensor], rows: int, block_rows: int
) -> dict[str, object]:
    return {
        "what_this_is": "activations of frozen layers, stored by torch-reuse: what they computed for each input row",
        "how_to_read": "row i of every /frontier data set belongs to the input whose digest is row i of /row_key",
        "format": FORMAT,
        "prefix_key": prefix_key,
        "frontier": describe(frontier)[:4000],  # an attribute has room for 64 KB
        "rows": rows,
        "block_rows": block_rows,
    }


def _words_on_tensor(tensor: FrontierTensor) -> dict[str, object]:
    how = "the values as they are"
    if tensor.dtype == torch.bfloat16:
        how = "16-bit patterns of bfloat16: shift left by 16 bits and read as float32"
    elif tensor.dtype == torch.bool:
        how = "0 is false, 1 is true"
    return {
        "what_this_is": "one tensor that the frozen layers hand to the trainable ones; one row a sample",
        "layer": tensor.name,
        "torch_dtype": dtype_name(tensor.dtype),
        "row_shape": str(tensor.shape),
        "how_to_read": how,
    }


def _header(file: h5py.File, path: Path, identity: tuple[int, ...]) -> Header:
    if file.attrs.get("format") != FORMAT:
        raise ValueError(f"format {file.attrs.get('format')} where {FORMAT} is expected")
    names = sorted(file["frontier"], key=lambda name: int(name.split("_")[0]))
    data_sets = [file["frontier"][name] for name in names]
    return Header(
        path=path,
        identity=identity,
        prefix_key=str(file.attrs["prefix_key"]),
        rows=int(file.attrs["rows"]),
        block_rows=int(file.attrs["block_rows"]),
        frontier=tuple(map(_frontier_tensor, data_sets)),
        tensors=tuple(map(_place, data_sets)),
        row_key=_place(file["row_key"]),
        block_crc=_place(file["block_crc"]),
    )


def _frontier_tensor(data_set: h5py.Dataset) -> FrontierTensor:
    dtype = getattr(torch, data_set.attrs["torch_dtype"])
    return FrontierTensor(str(data_set.attrs["layer"]), tuple(map(int, data_set.shape[1:])), dtype)


def _place(data_set: h5py.Dataset) -> Place:
    return Place(data_set.id.get_offset() or 0, tuple(map(int, data_set.shape)), data_set.dtype)

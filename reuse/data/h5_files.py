"""Arrays by name in HDF5 files: nothing in them leads elsewhere, or takes more memory than there is."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reuse.data.array_containers import NOT_READ
from reuse.data.h5_sizes import check_chunks, read_texts
from reuse.data.split_names import CELL_NAMES
from reuse.errors import DataError
from reuse.files import UnfitFileError, check_fits, open_regular


def arrays_of_h5(path: Path) -> dict[str, Any]:
    """Return the arrays of an HDF5 file by name; those of groups called train, valid or test as `x_train` and so on.

    Raises:
        DataError: it cannot be read, would not fit in memory, or is put together of other files.
    """
    try:
        _check_has_content(path)
        with h5py.File(path, "r", locking=False) as file:
            items = dict(_datasets(file, set()))
            check_fits(sum(item.nbytes for item in items.values()))
            return {name: _read_dataset(path, item) for name, item in items.items()}
    except (*NOT_READ, KeyError) as error:  # h5py raises these over what is damaged
        raise DataError(f"{path} cannot be read as HDF5 with strings in UTF-8 ({error})") from error


def _check_has_content(path: Path) -> None:
    """Raise where a file has no size, as those of the system, whose readers wait for more."""
    with open_regular(path) as file:
        if not os.fstat(file.fileno()).st_size:
            raise UnfitFileError("it is empty")


def _datasets(group: h5py.Group, seen: set[int], inside: str = "") -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the data sets of a group and of those in it, each group once, however many links lead to it.

    Raises:
        UnfitFileError: numbers are in other files.
    """
    seen.add(h5py.h5o.get_info(group.id).addr)
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise UnfitFileError(f"{inside}{name} is a link to another file, {link.filename}: copy what it leads to")
        item = group[name]
        if isinstance(item, h5py.Group) and h5py.h5o.get_info(item.id).addr not in seen:
            yield from _datasets(item, seen, f"{inside}{name}/")
        elif isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                raise UnfitFileError(f"{inside}{name} is put together of other files: copy it into one")
            part = CELL_NAMES.get(inside[:-1].lower())
            yield (f"{inside}{name}" if part is None else f"{name}_{part}"), item


def _read_dataset(path: Path, item: h5py.Dataset) -> Any:
    """Return a data set as an array; strings as objects, as arrays of texts give each row the room of the longest.

    What holds neither numbers nor strings, as lists of any length, is nothing to train on: its rows are left empty.
    """
    check_chunks(item)
    if h5py.check_string_dtype(item.dtype) is not None and item.shape is not None:
        return read_texts(path, item)
    return np.empty(item.shape, item.dtype) if item.shape and item.dtype.hasobject else item[()]

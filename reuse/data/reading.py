"""Reading: from a spec or rows in memory to raw data, neither split nor preprocessed."""

import errno
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image
from torch import Tensor

from reuse.data.array_files import read_h5, read_npz, source_of_arrays
from reuse.data.catalogue import NAMED, read_openml
from reuse.data.csv_files import COMPRESSIONS
from reuse.data.frame_pairs import FRAME
from reuse.data.frames import is_frame
from reuse.data.idx import find_idx, read_idx_folder
from reuse.data.image_files import read_image_archive, read_image_files, read_image_folder
from reuse.data.image_formats import image_suffixes, is_image
from reuse.data.labels import ALL_LABELS
from reuse.data.letters import composed_setting
from reuse.data.picture_lists import are_pictures
from reuse.data.raw import Options, RawData
from reuse.data.several import are_rows_of_several
from reuse.data.table_files import read_csv, read_parquet, source_of_table
from reuse.data.torch_datasets import is_dataset, read_dataset
from reuse.errors import DataError, UnknownNameError, UsageError
from reuse.escaping import beginning
from reuse.menus import suggest
from reuse.paths import from_home

READERS: dict[str, Callable[[Path, Options], RawData]] = {
    ".npz": read_npz,
    ".h5": read_h5,
    ".hdf5": read_h5,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".tar": read_image_archive,
    ".tgz": read_image_archive,
    ".gz": read_image_archive,
    ".xz": read_image_archive,
    ".bz2": read_image_archive,
}
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)
OPENML = "openml:"
NAMES_OF_COLUMNS = ("target", "ignore", "group_by", "split_column", "sample_weight", "text")


def read(spec: Any, options: Options) -> RawData:
    """Return what `spec` names or holds, neither split nor preprocessed.

    Raises:
        UsageError: nothing of this type is read.
        UnknownNameError: no data set, file or folder has this name.
        DataError: what is there cannot be read.
    """
    named: dict[str, Any] = {name: composed_setting(getattr(options, name)) for name in NAMES_OF_COLUMNS}
    options = replace(options, **named)
    if not isinstance(spec, (str, Path)):
        return _read_rows(spec, options)
    if not str(spec).strip():
        raise UsageError(f"data is {spec!r}, which names nothing: name a data set, a file or a folder")
    if str(spec) in NAMED:
        return NAMED[str(spec)](options)
    if str(spec).startswith(OPENML):
        return read_openml(str(spec).removeprefix(OPENML), options)
    return _read_path(str(spec), options)


def _read_rows(given: Any, options: Options) -> RawData:
    """Return rows that are in memory: arrays, frames or images."""
    _refuse_nothing(given)
    _refuse_several_datasets(given)
    if is_frame(given):
        return source_of_table(given, FRAME, options)
    if is_dataset(given):
        return read_dataset(given, options)
    if isinstance(given, Image):
        given = [given]
    if options.kind == "several" and are_rows_of_several(given):
        given = {"x": given}
    if isinstance(given, np.ndarray | Tensor) or _are_inputs(given, options):
        given = given, None
    if isinstance(given, tuple):
        if len(given) != 2:
            raise UsageError(f"a tuple of {len(given)} as data: give the pair (x, y), or a dict of arrays")
        given = {name: array for name, array in zip("xy", given, strict=True) if array is not None}
    if isinstance(given, Mapping):
        return source_of_arrays(given, "arrays", options)
    kind = type(given).__name__
    raise UsageError(
        f"data of type {kind}: give a name or path, a pair (x, y), a data frame, a torch Dataset, or a dict of arrays"
    )


def _refuse_nothing(given: Any) -> None:
    """Raise where a list, a tuple or a dictionary has nothing in it."""
    if isinstance(given, list | tuple | Mapping) and not given:
        raise DataError(f"an empty {type(given).__name__} as data: give at least one row")


def _refuse_several_datasets(given: Any) -> None:
    """Raise where splits are given as Datasets of torch, of which only one is read and then split."""
    held = given.values() if isinstance(given, Mapping) else given if isinstance(given, tuple) else ()
    if any(map(is_dataset, held)):
        raise UsageError(
            f"a {type(given).__name__} of Datasets as data: give one of them, which is split, or arrays called "
            "x_train, y_train, x_test, y_test where you split yourself"
        )


def _are_inputs(given: Any, options: Options) -> bool:
    """Return whether a sequence is one of inputs alone, and not the pair `(x, y)`."""
    if not isinstance(given, Sequence) or isinstance(given, tuple | bytes):
        return False
    return options.without_targets or are_pictures(given)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except ValueError:  # no name has a character of number 0
        return False
    except OSError as error:
        if error.errno in NOT_THERE:
            return False
        said = "cannot be read" if isinstance(error, PermissionError) else "is no name of a file or folder"
        raise DataError(f"{beginning(path)} {said}: {error.strerror}") from error


def _read_path(spec: str, options: Options) -> RawData:
    path = from_home(spec)
    if _is_folder(path):
        if not any(path.iterdir()):
            raise DataError(f"{path} is an empty folder: expected class folders of images, or IDX files")
        if "x_train" in find_idx(path):
            return source_of_arrays(read_idx_folder(path), spec, options)
        return read_image_folder(path, options)
    if not path.exists() and ("/" in spec or path.suffix.lower() in READERS or path.suffix.lower() in image_suffixes()):
        raise DataError(f"there is no file or folder {path.absolute()}")
    if not path.exists():
        if spec == ALL_LABELS:
            raise UnknownNameError("'all' names no data: name the data set, and leave --labels out or say --labels all")
        raise UnknownNameError(
            f"unknown data set {spec!r}: {suggest(spec, NAMED)}; there is no file or folder {path.absolute()} either"
        )
    inner = Path(path.stem).suffix.lower()  # table.csv.gz
    if path.suffix.lower() in COMPRESSIONS and READERS.get(inner) is read_csv:
        return read_csv(path, options)
    if path.suffix.lower() not in READERS and is_image(path.name, path):
        return read_image_files([path], options, name=spec)
    if path.suffix.lower() not in READERS:
        raise DataError(
            f"{path}: a file of this kind is not read; expected {', '.join(READERS)}, a picture (.png, .jpg, …) or a "
            "folder"
        )
    return READERS[path.suffix.lower()](path, options)

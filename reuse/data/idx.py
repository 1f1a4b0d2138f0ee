"""IDX files, the format of the MNIST family (http://yann.lecun.com/exdb/mnist/), plain or gzipped."""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from reuse.errors import DataError
from reuse.files import BoundedReader, open_regular, read_bytes

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_DIMENSIONS = 32
SPLIT_PREFIXES = {"train": "train", "t10k": "test", "test": "test", "valid": "valid", "val": "valid"}


def read_idx(path: Path) -> np.ndarray:
    """Return the array in an IDX file, in the machine's byte order.

    Raises:
        DataError: the file is not IDX, or is cut short.
    """
    try:
        content = _content(path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): fetch it again") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES or content[3] > MOST_DIMENSIONS:
        raise DataError(f"{path} does not begin like an IDX file: expected two zero bytes, a type and dimensions")
    dtype, num_dimensions = np.dtype(IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * num_dimensions
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(num_dimensions))
    expected = start + dtype.itemsize * math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{path} holds {len(content)} bytes and announces {expected}: fetch it again")
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return read_bytes(path)
    with open_regular(path) as file, BoundedReader(cast(BinaryIO, gzip.GzipFile(fileobj=file))) as unpacked:
        return unpacked.readall()


def find_idx(folder: Path) -> dict[str, Path]:
    """Return the IDX files of a folder by the array that they hold: `x_train`, `y_train`, `x_test`, …; empty: none."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), reverse=True):  # of a file and its .gz, the plain one
        name = path.name.lower()
        part = next((part for prefix, part in SPLIT_PREFIXES.items() if name.startswith(prefix)), None)
        role = "x" if "images" in name else "y" if "labels" in name else None
        if part and role and "idx" in name and "ubyte" in name:
            found[f"{role}_{part}"] = path
    return found


def read_idx_folder(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an IDX folder by name."""
    return {name: read_idx(path) for name, path in find_idx(folder).items()}

"""Arrays by name in .npz files: none in them says that it is larger than it is."""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal

import numpy as np

from reuse.errors import DataError
from reuse.files import UnfitFileError, check_fits, open_regular

NOT_READ = (
    OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
    tokenize.TokenError,
)  # fmt: skip
MAPPED_BYTES = 2**20  # of an array: smaller ones are read as fast
# Of the header that stands before each member of an archive: its bytes, and where it says how long the two texts are
# that follow it.
LOCAL_HEADER, NAME_LENGTH = 30, 26
OLD_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def arrays_of_npz(path: Path, expected: str, *, mapped: bool = False) -> dict[str, Any]:
    """Return the arrays of a .npz file by name.

    Args:
        path: the file.
        expected: which arrays, for the message.
        mapped: whether large ones that are not compressed may stay in the file until somebody asks for their rows;
            nobody checks then that the file is whole.

    Raises:
        DataError: it cannot be read, holds pickles, or would not fit in memory.
    """
    try:
        with open_regular(path) as file:
            _check_declared(file)
            there = dict(_mapped(path, file)) if mapped else {}
            file.seek(0)
            with np.load(file, allow_pickle=False) as found:
                return {name: there[name] if name in there else found[name] for name in found.files}
    except NOT_READ as error:
        raise DataError(
            f"{path} cannot be read as .npz without pickles ({error}): save plain arrays {expected}"
        ) from error


def _mapped(path: Path, file: BinaryIO) -> Iterator[tuple[str, np.ndarray]]:
    """Yield large arrays of a .npz file by name, mapped into memory, of which changes stay there."""
    with zipfile.ZipFile(file) as members:
        stored = [
            m for m in members.infolist() if m.compress_type == zipfile.ZIP_STORED and m.file_size >= MAPPED_BYTES
        ]
    for member in stored:
        file.seek(member.header_offset + NAME_LENGTH)
        file.seek(member.header_offset + LOCAL_HEADER + sum(struct.unpack("<HH", file.read(4))))
        read = OLD_HEADERS.get(np.lib.format.read_magic(file))
        if read is None:
            continue
        shape, is_fortran, dtype = read(file)
        if not dtype.hasobject:
            order: Literal["F", "C"] = "F" if is_fortran else "C"
            yield member.filename.removesuffix(".npy"), np.memmap(path, dtype, "c", file.tell(), shape, order)


def _check_declared(file: BinaryIO) -> None:
    """Raise where the arrays of a .npz file say that they are larger than they are, or than memory.

    Raises:
        UnfitFileError: the message says which, and how large.
    """
    with zipfile.ZipFile(file) as members:
        check_fits(sum(member.file_size for member in members.infolist()))
        for member in members.infolist():
            with members.open(member) as array:
                if _declared_bytes(array) > member.file_size:
                    raise UnfitFileError(f"{member.filename} says that it is larger than it is")
    file.seek(0)


def _declared_bytes(array: IO[bytes]) -> int:
    """Return how many bytes the header of an array announces."""
    read = OLD_HEADERS.get(np.lib.format.read_magic(array))
    if read is None:  # names of fields in UTF-8: no array for training
        return 0
    shape, _, dtype = read(array)
    return math.prod(shape) * dtype.itemsize

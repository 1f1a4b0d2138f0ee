"""Files that others made: opened only where they are files, and read only as far as memory goes."""

import errno
import io
import json
import lzma
import os
import stat
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from reuse.devices import free_memory
from reuse.units import format_bytes

ROOM_SHARE = 2  # one part in two of the free memory may be taken by what one file unpacks to
NOTHING_YET = "it is a file of the system's that holds nothing yet"
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnfitFileError(OSError):
    """A file that is none, or that would not fit in memory; its text is the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EINVAL, reason)

    def __str__(self) -> str:
        return str(self.strerror)


def open_regular(path: str | Path) -> io.BufferedReader:
    """Return a file opened for reading; a pipe or device is not waited for.

    Raises:
        OSError: it is no regular file, or cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        check_regular(os.fstat(handle))
    except OSError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def check_regular(status: os.stat_result) -> None:
    """Raise where what a status is of is no regular file.

    Raises:
        UnfitFileError: the message says what it is.
    """
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in KINDS if is_kind(status.st_mode)), "something else")
        raise UnfitFileError(f"it is {kind} and no file")


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a regular file that fits in memory.

    Raises:
        OSError: it is none, does not fit, or cannot be read.
    """
    with open_regular(path) as file:
        check_fits(os.fstat(file.fileno()).st_size)
        content: bytes | None = file.read()
    if content is None:
        raise UnfitFileError(NOTHING_YET)
    return content


def read_text(path: str | Path) -> str:
    """Return the text of a regular file in UTF-8 that fits in memory.

    Raises:
        OSError: it is none, does not fit, or cannot be read.
        UnicodeDecodeError: it is no UTF-8.
    """
    return read_bytes(path).decode()


def load_json(path: str | Path) -> Any:
    """Return what a regular file of JSON holds, as plain values that nobody has checked.

    Raises:
        OSError: it is no regular file, does not fit, or cannot be read.
        ValueError: it is no JSON in UTF-8, or nested deeper than can be read.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def room() -> int:
    """Return the bytes that what one file unpacks to may take."""
    return free_memory(torch.device("cpu")) // ROOM_SHARE


def check_file(path: str | Path) -> None:
    """Raise where another library could not read a file, or what a zip file unpacks to, into memory.

    Raises:
        OSError: it is no regular file, does not fit, or is not there.
    """
    with open_regular(path) as file:
        needed = os.fstat(file.fileno()).st_size
        if zipfile.is_zipfile(file):
            with suppress(zipfile.BadZipFile), zipfile.ZipFile(file) as members:
                needed = max(needed, sum(member.file_size for member in members.infolist()))
    check_fits(needed)


def check_fits(needed: int, most: int | None = None) -> None:
    """Raise where something would not fit in memory.

    Args:
        needed: its bytes.
        most: the bytes that it may take; None: as many as one file may.

    Raises:
        UnfitFileError: the message says how much it would take.
    """
    if needed > (most := room() if most is None else most):
        raise UnfitFileError(
            f"it would take {format_bytes(needed)}, and a file may take {format_bytes(most)} of memory"
        )


class BoundedReader(io.RawIOBase):
    """A stream that is unpacked on the way and ends in an error where it holds more than memory does.

    Args:
        stream: what is read.
        file: that the stream comes of, closed with it; None where the stream closes what it reads.
    """

    def __init__(self, stream: BinaryIO, file: BinaryIO | None = None) -> None:
        super().__init__()
        self._stream, self._file, self._left = stream, file, room()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into a buffer; return how many bytes, 0 at the end.

        Raises:
            UnfitFileError: the stream holds more than memory does.
            OSError: it is damaged, by whatever it was packed.
        """
        try:
            content: bytes | None = self._stream.read(len(buffer))
        except (zlib.error, lzma.LZMAError, EOFError) as error:
            raise OSError(f"it cannot be unpacked: {error}") from error
        if content is None:
            raise UnfitFileError(NOTHING_YET)
        buffer[: len(content)] = content
        self._left -= len(content)
        if self._left < 0:
            raise UnfitFileError(f"it unpacks to more than {format_bytes(room())}, which one file may take of memory")
        return len(content)

    def close(self) -> None:
        """Close the stream."""
        if not self.closed:
            self._stream.close()
            if self._file is not None:
                self._file.close()
        super().close()

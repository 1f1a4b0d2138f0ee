"""Files of torch, of whose pickles only so many bytes are read as what they make fits in memory."""

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reuse.files import UnfitFileError, check_fits, room

PICKLE_GROWTH = 100  # bytes of objects that a byte of a pickle makes at most: `(` makes a list
IN_ARCHIVES = "/data.pkl"


@contextmanager
def opened_for_torch(path: Path) -> Iterator[str | io.BufferedReader]:
    """Give what `torch.load` is to read: the path of an archive, or an older file, which is pickles and numbers.

    Raises:
        OSError: it cannot be read, or its pickles would make more than fits in memory.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as members:
            pickles = [member.file_size for member in members.infolist() if member.filename.endswith(IN_ARCHIVES)]
        check_fits(sum(pickles) * PICKLE_GROWTH)
        yield os.fspath(path)
    else:
        with PickledFile(path) as file:
            yield file


class PickledFile(io.BufferedReader):
    """A file that is read to its end only where what its pickles make fits in memory; numbers torch reads past it.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._left = room() // PICKLE_GROWTH

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            UnfitFileError: it has read so many that they may make more than fits in memory.
        """
        found = super().read(size)
        self._left -= len(found)
        if self._left < 0:
            raise UnfitFileError("its pickles would make more than a file may take of memory")
        return found

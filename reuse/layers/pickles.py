"""Files of torch, of whose pickles only so many bytes are read as what they make fits in memory."""

import io
import os
import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from reuse.files import UnfitFileError, check_fits, room

PICKLE_GROWTH = 100  # bytes of objects that a byte of a pickle makes at most: `(` makes a list
MOST_STEPS = 5_000_000  # that a pickle may have, of which a tensor takes thirty, and torch a microsecond for each
READS = 2  # of a file that a step takes, about
IN_ARCHIVES = "/data.pkl"


@contextmanager
def opened_for_torch(path: Path) -> Iterator[str | io.BufferedReader]:
    """Give what `torch.load` is to read: the path of an archive, or an older file, which is pickles and numbers.

    Raises:
        OSError: it cannot be read, or its pickles would make more than fits in memory, or take minutes.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as members:
            pickles = [member for member in members.infolist() if member.filename.endswith(IN_ARCHIVES)]
            check_fits(sum(member.file_size for member in pickles) * PICKLE_GROWTH)
            for member in pickles:
                if member.file_size > MOST_STEPS:  # a step takes a byte or more
                    _check_steps(members.read(member))
        yield os.fspath(path)
    else:
        with PickledFile(path) as file:
            yield file


def _check_steps(pickled: bytes) -> None:
    with suppress(ValueError):  # where it is damaged, torch says so
        if next(islice(pickletools.genops(pickled), MOST_STEPS, None), None):
            raise _too_many()


def _too_many() -> UnfitFileError:
    return UnfitFileError(
        f"its pickles take more than {MOST_STEPS:,} steps, which tensors do not: save its state_dict() alone"
    )


class PickledFile(io.BufferedReader):
    """A file whose pickles are read to their end only where that takes seconds, and what they make fits in memory.

    Numbers torch reads past it.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._left = room() // PICKLE_GROWTH
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            UnfitFileError: it has read so many that they may make more than fits in memory, or read so often.
        """
        self._reads += 1
        if self._reads > READS * MOST_STEPS:
            raise _too_many()
        found = super().read(size)
        self._left -= len(found)
        if self._left < 0:
            raise UnfitFileError("its pickles would make more than a file may take of memory")
        return found

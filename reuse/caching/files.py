"""Every change that the cache makes to the disk, one function each.

Nothing else in `reuse.caching` writes. So a test can record the changes of a build, replay any beginning of them with
what was not yet synced kept or lost, and look at what a reader would then see. All functions take paths, hold nothing
open, and raise what the operating system raises.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "darwin":
    import fcntl

FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_BINARY"))
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe is not waited for
Bytes = bytes | bytearray | memoryview


def make_folder(path: Path) -> None:
    """Make one folder inside an existing one; it may be there already."""
    path.mkdir(exist_ok=True)


def create(path: Path, fill: Callable[[Path], object]) -> None:
    """Create or replace the file at `path`, which is no link, by letting `fill` write it."""
    _refuse_link(path)
    path.unlink(missing_ok=True)
    fill(path)


def allocate(path: Path) -> None:
    """Reserve the disk blocks of the whole file, where the platform can, so that a full disk shows before computing."""
    if not hasattr(os, "posix_fallocate"):
        return
    with _opened(path, os.O_RDWR) as descriptor:
        os.posix_fallocate(descriptor, 0, max(1, os.fstat(descriptor).st_size))


def write_at(path: Path, data: Bytes, offset: int) -> None:
    """Write all of `data` at `offset`, past every library."""
    with _opened(path, os.O_WRONLY) as descriptor:
        rest = memoryview(data)
        os.lseek(descriptor, offset, os.SEEK_SET)
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def append(path: Path, data: Bytes) -> None:
    """Write `data` at the end of an existing file."""
    with _opened(path, os.O_WRONLY | os.O_APPEND) as descriptor:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def fsync(path: Path) -> None:
    """Return when the contents of the file are on the disk (on macOS: past the drive's own cache too)."""
    with _opened(path, os.O_RDWR) as descriptor:
        _sync(descriptor)


def fsync_folder(path: Path) -> None:
    """Return when the names in the folder are on the disk."""
    if os.name == "nt":  # Windows opens no folders; no crash guarantee is given there
        return
    with _opened(path, os.O_RDONLY, links=0) as descriptor:  # the user's own cache folder may be a link
        os.fsync(descriptor)


def rename(source: Path, target: Path) -> None:
    """Move a file in one step, over one that has the name already, but not over a link."""
    _refuse_link(target)
    source.replace(target)


def remove(path: Path) -> None:
    """Remove a file; it may be gone already."""
    path.unlink(missing_ok=True)


def touch(path: Path) -> None:
    """Set the file's time to now, creating it where it is missing."""
    with _opened(path, os.O_WRONLY | os.O_CREAT) as descriptor:
        os.utime(descriptor if os.utime in os.supports_fd else path)


def replace_text(path: Path, text: str) -> None:
    """Write a small text file so that a reader finds either the old text or the new one, whole."""
    building = path.with_name(path.name + ".new")
    create(building, lambda place: place.write_text(text, encoding="utf-8"))
    fsync(building)
    rename(building, path)
    fsync_folder(path.parent)


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


@contextmanager
def _opened(path: Path, flags: int, links: int = NO_LINK) -> Iterator[int]:
    descriptor = os.open(path, flags | FLAGS | links, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

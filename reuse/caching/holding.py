"""Keeping what is read from being evicted: a shared lock on a prefix, which ends with the process that holds it."""

import errno
import logging
import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if sys.platform != "win32":  # where a file that is mapped cannot be removed anyway
    import fcntl

READERS = "readers.lock"
# What folders that cannot be written answer, and a folder in place of the lock file, which is locked as well.
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EISDIR}
# What file systems without locks answer, and NFS of a file that may only be read.
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF}

log = logging.getLogger(__name__)


class Hold:
    """Shared lock that keeps a prefix from being removed until it is released or collected, or its process ends.

    Where the folder cannot be written and has no lock file, or its file system has no locks, it keeps nothing: what is
    mapped into memory stays readable there all the same, until the file is opened again.

    Args:
        folder: of the prefix; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        descriptor = _locked(folder / READERS, exclusive=False) if folder.is_dir() else None
        self._release = (lambda: None) if descriptor is None else weakref.finalize(self, os.close, descriptor)

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return Hold, (self.folder,)

    def release(self) -> None:
        """Let the prefix be removed."""
        self._release()


@contextmanager
def unheld(folder: Path) -> Iterator[bool]:
    """Keep readers out of the prefix in `folder` while the block runs, or give False at once where there are some."""
    try:
        descriptor = _locked(folder / READERS, exclusive=True)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        if descriptor is not None:
            os.close(descriptor)


def has_locks(path: Path) -> bool:
    """Say whether the file system of the existing file `path` has locks; some network file systems have none."""
    if sys.platform == "win32":
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in NO_LOCKS
    else:
        return True
    finally:
        os.close(descriptor)


def _locked(path: Path, exclusive: bool) -> int | None:
    """Return a descriptor that holds a lock; None where there are no locks.

    Raises:
        BlockingIOError: others hold the lock that is to be exclusive.
    """
    if sys.platform == "win32":
        return None
    if path.is_symlink() or path.parent.is_symlink():
        return None
    descriptor = _opened(path)
    if descriptor is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
    except OSError as error:
        os.close(descriptor)
        if error.errno in NO_LOCKS:
            return None
        raise
    return descriptor


def _opened(path: Path) -> int | None:
    """Return a descriptor of a lock file, None where there is none; where it may only be read it is locked as well."""
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        try:
            return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno not in CLOSED:
                raise
    return None

"""One training a run folder: who trains in one holds a lock on it, which ends with the process and leaves no file."""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, count
from pathlib import Path

from reuse.errors import UsageError

if sys.platform != "win32":  # where folders are not locked, and nothing is refused
    import fcntl

TAKEN = {errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN}
PATIENCE = 0.5  # seconds that one waits, as who only asks holds the lock for a moment


@contextmanager
def claimed(path: Path, *, begins: bool = False) -> Iterator[None]:
    """Be the only one who trains in a run folder; where the file system has no locks, nobody is kept out.

    Args:
        path: of the folder.
        begins: whether a run begins there, which may begin elsewhere.

    Raises:
        UsageError: another process trains there.
    """
    descriptor, until = _locked(path), time.monotonic() + PATIENCE
    while descriptor is None and time.monotonic() < until:
        time.sleep(PATIENCE / 20)
        descriptor = _locked(path)
    if descriptor is None:
        raise UsageError(in_training(path, begins=begins))
    try:
        yield
    finally:
        _unlock(descriptor)


def is_claimed(path: Path) -> bool:
    """Return whether a process trains in a run folder at this moment."""
    descriptor = _locked(path, alone=False)
    if descriptor is not None:
        _unlock(descriptor)
    return descriptor is None


def in_training(path: Path, *, begins: bool = False) -> str:
    """Return the line about a run folder that somebody else trains in; what begins there may begin elsewhere."""
    advice = "wait until it is done, or give another --out" if begins else "wait until it is done"
    return f"another process is training in {path} at this moment: {advice}"


def _locked(path: Path, alone: bool = True) -> int | None:
    """Return a descriptor that holds the lock of a folder, -1 where there are no locks; None: another one holds it.

    Who only asks shares it with others who ask.
    """
    if sys.platform == "win32":
        return -1
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it is not there, or may not be read: whatever is done with it says so
        return -1
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return None if error.errno in TAKEN else -1
    return descriptor


def _unlock(descriptor: int) -> None:
    if sys.platform != "win32" and descriptor >= 0:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # of processes that were forked meanwhile, too
        os.close(descriptor)


def make_unused(root: Path, kind: str) -> Path:
    """Make a folder with a name of its own, also where another process takes names in the same second.

    Raises:
        UsageError: none can be made there.
    """
    stem = f"{kind}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(root / name for name in names if _make_new(root / name))


def _make_new(path: Path) -> bool:
    """Make a folder and say whether it is a new one."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise UsageError(f"no run folder can be made at {path}: {error.strerror}") from error
    return True

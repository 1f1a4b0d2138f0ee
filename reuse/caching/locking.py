"""One writer a prefix: the lock file, and clear messages in place of what the operating system says about a folder."""

import errno
import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from reuse.caching import files
from reuse.caching.holding import has_locks, unheld
from reuse.caching.ownership import link_among, note_made_here, refuse_links
from reuse.errors import CacheError, UsageError

WRITER = "writer"
SOFT = ".held"
PATIENCE = 1.0  # seconds that are waited for another writer before anybody is told
LOCKS = {".lock", SOFT}  # how the names of lock files end
FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}

log = logging.getLogger(__name__)
_noted = set[Path]()


@dataclass(frozen=True)
class FillShare:
    """Share of one process in computing the rows that a split lacks.

    It depends on the row keys alone and not on what is missing, so that each row has one process, whenever each of them
    looks.

    Attributes:
        rank: number of this process, from 0.
        count: of the processes.
    """

    rank: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise UsageError(f"process {self.rank} of {self.count} is to fill a cache: count from 0")

    def of(self, positions: np.ndarray, rows: int) -> np.ndarray:
        """Return those of `positions`, first places of rows in `rows` row keys, that are this process's: neighbours."""
        mine: np.ndarray = positions[positions * self.count // max(1, rows) == self.rank]
        return mine


ALONE = FillShare()


@contextmanager
def writing(folder: Path, share: FillShare = ALONE) -> Iterator[list[int]]:
    """Be the only writer of the prefix in `folder`, or of one share of it; waits while another process is.

    The folder is created. The lock ends with the process that holds it, however it ends. The file stays: to remove it
    while somebody waits for it would let two writers in.

    Args:
        folder: of the prefix.
        share: what this process writes of it. Who writes all of it waits for those that write shares, too.

    Yields:
        The numbers of the processes in whose place this one is.

    Raises:
        CacheError: the folder cannot be written, or a link stands in the way.
    """
    with ExitStack() as held:
        refuse_links(folder)
        with disk_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            note_made_here(folder.parent)
            files.make_folder(folder)
            files.fsync_folder(folder.parent)
            ranks = sorted({share.rank, *(ranks_of(folder) if share.count == 1 else [])})
            for rank in ranks:  # ascending, so that no two wait for each other
                lock = _lock(folder / _name(rank))
                if not _acquired(lock, PATIENCE):
                    log.warning("waiting for another process, which is writing %s", folder)
                    lock.acquire()
                held.callback(lock.release)
        yield ranks


@contextmanager
def removing(folder: Path) -> Iterator[bool]:
    """Be alone with the existing prefix in `folder`, or give False at once where somebody writes or reads it.

    So it is where links stand in the way, through which nothing is locked.
    """
    with ExitStack() as held:
        free = link_among(folder) is None and held.enter_context(unheld(folder))
        yield free and held.enter_context(alone(folder))


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Be the only writer of the existing prefix in `folder`, or give False at once where somebody writes it.

    Also False where a folder stands in the place of a lock file.
    """
    with ExitStack() as held:
        ranks = sorted({0, *ranks_of(folder)})
        free = not any((folder / _name(rank)).is_dir() for rank in ranks)
        for rank in ranks if free else ():
            with disk_errors(folder):
                lock = _lock(folder / _name(rank))
                free = free and _acquired(lock)
            if lock.is_locked:
                held.callback(lock.release)
        yield free


class VanishedError(CacheError):
    """Files of a cache that somebody removed while they were written."""


@contextmanager
def disk_errors(folder: Path, needed: int | None = None) -> Iterator[None]:
    """Raise a `CacheError` that says what to do in place of what the operating system says about writing to `folder`.

    Args:
        folder: where the cache is written.
        needed: bytes that were to be written, for the message about a full disk.
    """
    try:
        yield
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise _full(folder, needed) from error
        if isinstance(error, FileNotFoundError):
            raise VanishedError(
                f"files of the cache {folder} were removed while they were written ({error}): let nothing remove what "
                "runs use (`reuse cache clear` waits for them), and give the same command again"
            ) from error
        raise CacheError(
            f"the cache folder {folder} cannot be written ({error}): name another one "
            "(cache-dir, REUSE_CACHE) or go without a cache (--no-cache)"
        ) from error


def _name(rank: int) -> str:
    return f"{WRITER}-{rank}.lock" if rank else f"{WRITER}.lock"


def ranks_of(folder: Path) -> list[int]:
    """Return the numbers of the processes, but for the first, that ever wrote a share."""
    names = (path.stem.partition("-")[2] for path in folder.glob(WRITER + "-*.lock"))
    return [int(number) for number in names if number.isascii() and number.isdecimal()]


def _lock(path: Path) -> BaseFileLock:
    """Return a lock of the operating system, or a file that is one by being there where a file system has no locks."""
    path.touch()
    if has_locks(path):
        return FileLock(path)
    marker = path.with_name(path.name + SOFT)
    if path not in _noted:
        _noted.add(path)
        log.warning(
            "%s lies on a file system without locks: the file %s keeps other writers out, and readers do not keep what "
            "they read from being evicted. If a machine goes down while it writes, remove that file by hand",
            path.parent,
            marker,
        )
    return SoftFileLock(marker)


def _acquired(lock: BaseFileLock, timeout: float = 0) -> bool:
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        return False
    return True


def _full(folder: Path, needed: int | None) -> CacheError:
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    amount = "" if needed is None else f"{needed} bytes are needed, "
    return CacheError(
        f"no room for the cache in {folder}: {amount}{free} bytes are free; what was published stays. "
        "Free some disk, `reuse cache prune`, name another cache-dir, a smaller cache-dtype or --no-cache"
    )

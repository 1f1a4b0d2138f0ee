"""One writer a prefix: the lock file, and clear messages in place of what the operating system says about a folder."""

import errno
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from reuse.caching import files
from reuse.errors import CacheError

LOCK = "writer.lock"
FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}

log = logging.getLogger(__name__)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the only writer of the prefix in `folder`, which is created; waits while another process writes.

    The lock ends with the process that holds it, however it ends. The file stays: to remove it while somebody waits for
    it would let two writers in.

    Raises:
        CacheError: the folder cannot be written.
    """
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        files.make_folder(folder)
        files.fsync_folder(folder.parent)
        lock = FileLock(folder / LOCK)
        if not _acquired(lock):
            log.info("waiting: another process is writing %s", folder)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing_if_free(folder: Path) -> Iterator[bool]:
    """Be the only writer of the existing prefix in `folder`, or give False at once where another process is."""
    lock = FileLock(folder / LOCK)
    with disk_errors(folder):
        acquired = _acquired(lock)
    try:
        yield acquired
    finally:
        if acquired:
            lock.release()


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
        raise CacheError(
            f"the cache folder {folder} cannot be written ({error}): name another one "
            "(cache-dir, REUSE_CACHE) or go without a cache (--no-cache)"
        ) from error


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
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

"""Clear messages in place of what the operating system and libraries say when a file of a run cannot be written."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from reuse.errors import RunError

FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
RECORD = "run.json"  # the first record: with it a run can be gone on with
BY_LIBRARY = re.compile(r"os error (\d+)")


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Raise a `RunError` that says what to do, in place of what others say, where a file of a run cannot be written.

    Args:
        path: of the file, or of the folder, in the run.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        number = number_of(error)
        if number is None:
            raise
        raise _refusal(path, number) from error


def number_of(error: BaseException | None) -> int | None:
    """Return what the operating system calls an error that it gave, or that another one was raised over; else None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        if isinstance(error, SafetensorError) and (found := BY_LIBRARY.search(str(error))):
            return int(found[1])
        error = error.__context__  # torch's writer raises its own when it cannot finish a file
    return None


@contextmanager
def drafted(draft: Path) -> Iterator[None]:
    """Remove a draft that was not put in its place, so that on a full disk it takes no room."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            if draft.is_dir():
                shutil.rmtree(draft)
            else:
                draft.unlink(missing_ok=True)
        raise


def _refusal(path: Path, number: int) -> RunError:
    run = next((folder for folder in path.parents if (folder / RECORD).exists()), None)
    if run is None:
        room, then = "", "the run has no first record yet: remove its folder and begin it anew, or give another --out"
    else:
        room, then = "make room, ", f"then go on with --resume {run}"
    if number not in FULL:
        return RunError(f"{path} cannot be written ({os.strerror(number)}): mend that; {then}")
    free = shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free
    return RunError(f"no room for {path}: {free} bytes are free on its disk; {room}{then}")

"""The runs in a folder: what each came to, what it takes on disk, and clearing away those that are not wanted.

Of a run folder only what a run writes is removed, and no link is followed: notes that somebody has put into it stay,
and the folder with them.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reuse.errors import RunError
from reuse.runs.folder import HISTORY, MANIFEST, RESULT, SETTINGS, RunFolder

FOLDERS = ("checkpoint", "snapshots", "tensorboard", "pictures")
FILES = (MANIFEST, SETTINGS, HISTORY, RESULT)
COMPARED = re.compile(r"compared-\w+")
DAY_SECONDS = 86400.0
TOLD = ("accuracy", "r2", "mse", "loss")  # the first of these that a run has measured is its score


@dataclass(frozen=True)
class RunEntry:
    """A run in a list.

    Attributes:
        run: the folder.
        kind: `pretrain`, `finetune`, `sweep` or `soup`; empty where it cannot be read.
        data: name of the data.
        created: when it began; None where that is not known.
        epochs: how many have run; None while it is not finished.
        metric: name of its score on the test rows, or the validation rows where there are no others.
        score: the score; None without one.
        bytes: what its files take on disk; a file that it shares with other runs counts.
        freed: what removing it alone would free.
        changed: when a file of it was last written, in seconds since 1970.
        damage: why it cannot be read; empty where it can.
    """

    run: str
    kind: str = ""
    data: str = ""
    created: datetime | None = None
    epochs: int | None = None
    metric: str = ""
    score: float | None = None
    bytes: int = 0
    freed: int = 0
    changed: float = 0.0
    damage: str = ""

    @property
    def finished(self) -> bool:
        """Whether it came to a result."""
        return self.epochs is not None

    @property
    def may_be_training(self) -> bool:
        """Whether it has no result and was written to within the last day."""
        return not self.finished and time.time() - self.changed < DAY_SECONDS


def list_runs(root: Path) -> list[RunEntry]:
    """Return the runs in a folder, the newest first.

    Args:
        root: the folder that holds run folders, such as `runs`.

    Raises:
        RunError: there is no such folder.
    """
    if not root.is_dir():
        raise RunError(f"there is no folder {root}: name the one that holds run folders")
    found = [_entry(path) for path in root.iterdir() if (path / MANIFEST).is_file() and not path.is_symlink()]
    return sorted(found, key=lambda entry: (entry.created or datetime.min.replace(tzinfo=UTC), entry.run), reverse=True)


def remove_run(path: Path) -> list[Path]:
    """Remove a run: all that a run writes into its folder, and the folder where nothing else is in it.

    Args:
        path: the folder.

    Returns:
        What was left, as no run writes it.

    Raises:
        RunError: it is no run folder, or may not be removed.
    """
    check_run(path)
    try:
        for own in sorted(_own(path), key=lambda one: one.name == MANIFEST):  # a kill leaves what can be removed again
            if own.is_dir():
                shutil.rmtree(own)
            else:
                own.unlink()
        left = list(path.iterdir())
        if not left:
            path.rmdir()
    except OSError as error:
        raise RunError(f"{error.filename or path} cannot be removed: {error.strerror}") from error
    return left


def check_run(path: Path) -> None:
    """Raise a RunError where a path is no run folder, or a link to one."""
    if path.is_symlink() or not (path / MANIFEST).is_file():
        raise RunError(f"{path} is no run folder: there is no {MANIFEST} in it, or it is a link")


def disk_bytes(paths: Sequence[Path]) -> tuple[int, int]:
    """Return what runs take on disk, and how much of it removing them all would free.

    Files are counted once, whatever their number of names; a file that has names outside of these runs stays.

    Args:
        paths: run folders.
    """
    names: dict[tuple[int, int], int] = {}
    stats: dict[tuple[int, int], os.stat_result] = {}
    for file in (file for path in paths for own in _own(path) for file in _files(own)):
        stat = file.lstat()
        key = (stat.st_dev, stat.st_ino)
        names[key], stats[key] = names.get(key, 0) + 1, stat
    freed = sum(stat.st_size for key, stat in stats.items() if names[key] >= stat.st_nlink)
    return sum(stat.st_size for stat in stats.values()), freed


def _entry(path: Path) -> RunEntry:
    taken, freed = disk_bytes([path])
    changed = max((file.lstat().st_mtime for own in _own(path) for file in _files(own)), default=0.0)
    try:
        run = RunFolder(path)
        manifest, result = run.manifest(), run.result()
    except RunError as error:
        return RunEntry(str(path), bytes=taken, freed=freed, changed=changed, damage=str(error))
    metric, score = _score(result or {})
    return RunEntry(
        str(path),
        manifest.kind,
        manifest.data,
        _moment(manifest.created),
        None if result is None else _epochs(result),
        metric,
        score,
        taken,
        freed,
        changed,
    )


def _epochs(result: dict[str, Any]) -> int:
    """Return how many epochs have run: those of the longest training of a sweep, none of a soup."""
    epochs = result.get("epochs", 0)
    return max(epochs.values(), default=0) if isinstance(epochs, dict) else int(epochs)


def _score(result: dict[str, Any]) -> tuple[str, float | None]:
    measured = result.get("metrics") or result  # of a soup they stand beside the rest
    some = measured.get("test") or measured.get("valid") or {}
    name = next((name for name in TOLD if isinstance(some.get(name), int | float)), "")
    return name, some.get(name)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # the first and the last day of all may be on no calendar elsewhere
        return None


def _own(path: Path) -> Iterator[Path]:
    """Yield what a run writes into its folder; nothing that is a link."""
    for entry in path.iterdir():
        if entry.is_symlink():
            continue
        is_file = entry.name in FILES or entry.suffix == ".safetensors" or entry.name.endswith(".draft")
        if entry.is_file() and is_file:
            yield entry
        if entry.is_dir() and (
            entry.name in FOLDERS or (COMPARED.fullmatch(entry.name) and (entry / MANIFEST).exists())
        ):
            yield entry


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names)

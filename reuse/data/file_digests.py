"""Digests of files, remembered as git's index does it: as long as a file's size, times and inode are the same.

Whoever writes to a file moves its change time, which nobody can set, whatever he does to its size and modification
time. A file that changed within the clock's grain before it was read may change again at the same time, so it is
digested again.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import xxhash

from reuse.data.digests import digest_bytes
from reuse.files import read_bytes
from reuse.hints import Hints

FILE_DIGESTS = "file"  # their kind of hints
GRAIN = 2_000_000_000  # nanoseconds between two times that the coarsest of file systems (FAT) tells apart
HAS_CHANGE_TIME = os.name != "nt"  # Windows has the time of creation in its place, so there every file is digested


class FileState(NamedTuple):
    """The state of a file: its bytes, times in nanoseconds, and inode."""

    size: int
    modified: int
    changed: int
    inode: int

    @property
    def text(self) -> str:
        """The state as a hint holds it."""
        return f"[{self.size},{self.modified},{self.changed},{self.inode}]"  # as json has it, in a fifth of the time


@dataclass
class FileDigests:
    """Digests of the contents of files.

    Attributes:
        hints: where they are remembered; None: nowhere.
        seed: of the digests.
        read_now: what is to be remembered of files that were read, by name of the hint.
    """

    hints: Hints | None
    seed: int
    read_now: dict[str, bytes] = field(default_factory=dict)

    def recall(self, paths: Sequence[Path]) -> dict[Path, bytes]:
        """Return the digests of those of some files that are as they were when they were digested."""
        if self.hints is None or not HAS_CHANGE_TIME:
            return {}
        names = {path: self._name(path) for path in paths}
        noted = self.hints.find(FILE_DIGESTS, list(names.values()))
        found = {}
        for path, name in names.items():
            state = state_of(path) if name in noted else None
            then, _, digest = noted.get(name, b"").decode().partition(" ")
            if state is not None and then == state.text:
                found[path] = bytes.fromhex(digest)
        return found

    def read(self, path: Path) -> tuple[bytes, bytes]:
        """Return the content of a file and its digest, which is remembered when `keep` is called.

        Raises:
            OSError: it cannot be read.
        """
        now, before = time.time_ns(), state_of(path)
        content = read_bytes(path)
        digest = digest_bytes(content, self.seed)
        if before is not None and before == state_of(path) and is_settled(before, now):
            self.read_now[self._name(path)] = f"{before.text} {digest.hex()}".encode()
        return content, digest

    def keep(self) -> None:
        """Remember the digests of what was read."""
        if self.hints is not None and HAS_CHANGE_TIME:
            self.hints.keep(FILE_DIGESTS, self.read_now)

    def _name(self, path: Path) -> str:
        return name_of(path, self.seed)


def name_of(path: Path, seed: int) -> str:
    """Return what a hint about a file is called."""
    absolute = os.path.abspath(path)  # noqa: PTH100 - in a quarter of the time
    return xxhash.xxh3_128_hexdigest(os.fsencode(absolute), seed=seed)


def state_of(path: Path) -> FileState | None:
    """Return the state of a file; None where it is not there, or cannot be told from another."""
    try:
        found = path.stat()
    except OSError:
        return None
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def is_settled(state: FileState, now: int) -> bool:
    """Return whether a file in a state could not change again at a time `now` without leaving that state."""
    return HAS_CHANGE_TIME and max(state.modified, state.changed) + GRAIN < now

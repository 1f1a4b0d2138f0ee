"""Hints: what earlier runs found out about files and models, so that later ones need not; any may be missing.

They live in one file of the cache folder, which SQLite keeps whole when several processes write, or one is killed. Each
hint has a checksum of its own, and a damaged file is made anew: nothing that uses hints may need them.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from xxhash import xxh3_128_digest

HINTS = "hints.sqlite"
LARGEST = 256 * 2**20  # bytes that the file may take; the older half of the hints makes room
TOGETHER = 500  # names that one query asks for: SQLite takes at least 999
WAIT = 10.0  # seconds that another process may take to write
BESIDE = ("-journal", "-wal", "-shm")  # of the file, where a write was interrupted
TABLE = """
create table if not exists hints (
  number integer primary key, kind text, name text, value blob, checksum blob, unique (kind, name) on conflict replace
)
"""


@dataclass(frozen=True)
class Hints:
    """The hints in a cache folder.

    Attributes:
        folder: of the cache.
        begins: whether the folder may be made to keep hints; else they are kept only where it is there already.
        anew: kinds that are to be found out anew, so that none of them is found.
        largest: bytes that they may take.
    """

    folder: Path
    begins: bool = True
    anew: frozenset[str] = frozenset()
    largest: int = LARGEST

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / HINTS

    @property
    def _is_linked(self) -> bool:
        """Whether the file is somebody's link, which is neither followed nor removed."""
        return any(path.is_symlink() for path in self._files())

    def find(self, kind: str, names: Sequence[str]) -> dict[str, bytes]:
        """Return what is known of some names of a kind, by name; what is not known is left out."""
        found: dict[str, bytes] = {}
        if kind in self.anew or self._is_linked or not self.path.is_file():
            return found
        try:
            with closing(self._connect("ro")) as connection:
                for start in range(0, len(names), TOGETHER):
                    some = names[start : start + TOGETHER]
                    marks = ", ".join("?" * len(some))
                    query = f"select name, value, checksum from hints where kind = ? and name in ({marks})"  # noqa: S608
                    rows = connection.execute(query, (kind, *some))
                    found |= {name: value for name, value, check in rows if check == _checksum(kind, name, value)}
        except (sqlite3.Error, TypeError, ValueError) as error:
            self._forget_damaged(error)
        return found

    def keep(self, kind: str, found: Mapping[str, bytes]) -> None:
        """Note what was found out, by name; where that cannot be written, it makes no difference."""
        if not found or self._is_linked or not (self.begins or self.folder.is_dir()):
            return
        rows = [(kind, name, value, _checksum(kind, name, value)) for name, value in found.items()]
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._write(rows)
            except sqlite3.Error as error:
                if self._forget_damaged(error):
                    with suppress(sqlite3.Error):
                        self._write(rows)

    def clear(self) -> int:
        """Forget everything; returns the bytes freed."""
        size = 0
        for path in self._files():
            with suppress(FileNotFoundError):
                if not path.is_symlink():
                    size += path.stat().st_size
                    path.unlink()
        return size

    def _write(self, rows: list[tuple[str, str, bytes, bytes]]) -> None:
        with closing(self._connect("rwc")) as connection, connection:
            connection.execute(TABLE)
            connection.executemany("insert into hints (kind, name, value, checksum) values (?, ?, ?, ?)", rows)
            if self._bytes(connection) > self.largest:
                connection.execute(
                    "delete from hints where number <= (select (min(number) + max(number)) / 2 from hints)"
                )

    def _connect(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=WAIT)

    def _bytes(self, connection: sqlite3.Connection) -> int:
        pages, free, size = (
            connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _forget_damaged(self, error: Exception) -> bool:
        """Remove a file that is no longer one of SQLite's; one that is locked or cannot be written stays."""
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if damaged:
            with suppress(OSError):
                self.clear()
        return damaged

    def _files(self) -> Iterator[Path]:
        yield from (self.path.with_name(HINTS + end) for end in ("", *BESIDE))


def _checksum(kind: str, name: str, value: bytes) -> bytes:
    return xxh3_128_digest(b"\0".join((kind.encode(), name.encode(), value)))

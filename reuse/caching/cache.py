"""The activation cache as a whole: opening a prefix, listing, checking, and keeping within a budget."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from reuse.caching import building, files
from reuse.caching.checking import Problem, check_segment
from reuse.caching.damage import rows_aside
from reuse.caching.locking import LOCKS, disk_errors, removing
from reuse.caching.ownership import WHOLE_ASIDE, is_prefix, own_files, refuse_links
from reuse.caching.packing import packed
from reuse.caching.prefix_record import RECORD, USED, PrefixRecord, read_record
from reuse.caching.quarantine import QUARANTINE, read_quarantine
from reuse.caching.segment import read_header
from reuse.caching.storage import describe, storage_of
from reuse.caching.store import SEGMENT_BYTES, PrefixCache
from reuse.errors import CacheError
from reuse.fingerprinting.fingerprint import Fingerprint
from reuse.hints import Hints
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.menus import suggest
from reuse.paths import from_home

log = logging.getLogger(__name__)
NO_DESCRIPTION: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Entry:
    """One prefix in the cache.

    Attributes:
        key: its prefix key.
        path: its folder.
        bytes: what it takes on disk, unfinished segments included.
        rows: published rows, those of damaged files left out.
        segments: published files.
        created: ISO time (UTC), empty where it is not known.
        last_used: seconds since 1970.
        description: what the caller of `open` said about it.
        components: what its key was made of.
        damage: why it was set aside, and what is wrong with its files as far as opening them shows;
            `ActivationCache.verify` looks closer.
    """

    key: str
    path: Path
    bytes: int
    rows: int
    segments: int
    created: str
    last_used: float
    description: Mapping[str, str]
    components: Mapping[str, str]
    damage: tuple[str, ...] = ()


class ActivationCache:
    """Outputs of frozen layers, stored in the folder `root` and found by content.

    Args:
        root: the folder; it is created when something is first written.
        budget: bytes that all prefixes together may take, the least recently used making room; None: all the disk has.
        segment_bytes: about how large one file gets.

    Example:
        >>> ActivationCache(Path("cache")).entries()
        []
    """

    def __init__(self, root: Path, budget: int | None = None, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.root = from_home(root)
        self.budget = budget
        self._segment_bytes = segment_bytes

    def open(
        self,
        fingerprint: Fingerprint,
        frontier: Sequence[FrontierTensor],
        description: Mapping[str, str] = NO_DESCRIPTION,
        dtype: str | None = None,
    ) -> PrefixCache:
        """Return the cache of one prefix; writes nothing yet.

        What is stored in fewer bits comes back in the types that the prefix computes. The fingerprint must say how it
        is stored, such as by `packed(frontier, dtype)`.

        Args:
            fingerprint: what the prefix computes.
            frontier: the tensors it hands on, one row each.
            description: words for `reuse cache list`, e.g. the model and the data.
            dtype: in which type floating-point tensors are stored, a name of `packing.STORAGE_TYPES`; None: as is.

        Raises:
            CacheError: a frontier tensor has a type that cannot be stored.
        """
        stored = packed(frontier, dtype)
        for tensor in (*frontier, *stored):
            _ = storage_of(tensor)  # raises for a type that cannot be stored
        record = PrefixRecord(fingerprint.key, "", dict(description), describe(stored), fingerprint.components)
        path = self.root / fingerprint.key
        return PrefixCache(path, record, frontier, stored, self._make_room, self._segment_bytes)

    def entries(self) -> list[Entry]:
        """Return all prefixes that hold anything, the most recently used first."""
        return sorted(map(_entry, self._folders()), key=lambda entry: -entry.last_used)

    def nearest(self, fingerprint: Fingerprint) -> Entry | None:
        """Return the entry whose key was made of most nearly the same; None where there is none."""
        known = [entry for entry in self.entries() if entry.components]
        return min(
            known, key=lambda entry: len(fingerprint.differences(Fingerprint(dict(entry.components)))), default=None
        )

    def verify(self, key: str | None = None) -> list[Problem]:
        """Read every published byte of one prefix, or of all, and return what is wrong.

        Raises:
            CacheError: there is no prefix `key`.
        """
        return [problem for folder in self._chosen(key) for problem in _check(folder)]

    def prune(self, budget: int) -> int:
        """Remove the least recently used prefixes until all take at most `budget` bytes; returns the bytes freed.

        A prefix that is being written or read, or holds links, stays, which is told to the log.
        """
        staying = list[str]()
        freed = self._evict(budget, None, staying)
        if staying:
            log.warning("being written or read, or holding links, and so not removed: %s", ", ".join(staying))
        return freed

    def clear(self, key: str | None = None) -> int:
        """Remove one prefix, or all and the hints of earlier runs; returns the bytes freed.

        Raises:
            CacheError: there is no prefix `key`, or one is being written or read, or holds links, and stays.
        """
        with disk_errors(self.root):
            freed = Hints(self.root).clear() if key is None else 0
        busy = []
        for folder in self._chosen(key):
            refuse_links(folder)
            size = _bytes(folder)
            if _remove(folder, unmark=True):
                freed += size
            else:
                busy.append(folder.name)
        if busy:
            raise CacheError(
                f"being written or read, not removed: {', '.join(busy)} ({freed} bytes of others were "
                "freed); try again when the processes that use them are done; where none does, remove by hand a folder "
                "that is named as a lock file"
            )
        return freed

    def _make_room(self, key: str, needed: int) -> None:
        if self.budget is None:
            return
        own = _bytes(self.root / key)
        rest = self.budget - own - needed
        if rest >= 0:
            self._evict(rest + own, keep=key)
        if rest < 0 or sum(map(_bytes, self._folders())) + needed > self.budget:
            raise CacheError(
                f"no room in the cache budget of {self.budget} bytes: {needed} bytes are needed beside {own} of the "
                "same prefix, and what other processes write or read cannot be removed. Raise cache-budget, choose a "
                "smaller cache-dtype or go without a cache (--no-cache)"
            )

    def _evict(self, budget: int, keep: str | None, staying: list[str] | None = None) -> int:
        sizes = {folder: _bytes(folder) for folder in self._folders()}
        excess = sum(sizes.values()) - budget
        freed = 0
        for folder in sorted(sizes, key=_last_used):
            if freed >= excess:
                break
            if folder.name != keep and _remove(folder):
                freed += sizes[folder]
            elif staying is not None:
                staying.append(folder.name)
        return freed

    def _folders(self) -> list[Path]:
        """Return the folders of prefixes; of others, links among them, the cache knows nothing."""
        return sorted(filter(is_prefix, self.root.iterdir())) if self.root.is_dir() else []

    def _chosen(self, key: str | None) -> list[Path]:
        folders = self._folders()
        if key is None:
            return folders
        if self.root / key not in folders:
            names = [folder.name for folder in folders]
            raise CacheError(
                f"there is no prefix {key!r} in {self.root}: {suggest(key, names) if names else 'it is empty'}"
            )
        return [self.root / key]


def _entry(folder: Path) -> Entry:
    record, headers, damage = PrefixRecord(folder.name, "", {}, "", {}), [], []
    try:
        record = read_record(folder) or record
    except CacheError as error:
        damage.append(str(error))
    if (reason := read_quarantine(folder)) is not None:
        damage.append(f"set aside: {reason}")
    segments, aside = building.published(folder), rows_aside(folder)
    for path in segments:
        try:
            headers.append(read_header(path))
        except CacheError as error:
            damage.append(str(error))
    damage += [f"{path.stem} is set aside" for path in own_files(folder) if path.name.endswith(WHOLE_ASIDE)]
    marked = {header.path.name: _rows_within(header.rows, aside.get(header.path.name, ())) for header in headers}
    damage += [f"{rows} rows of {name} are set aside" for name, rows in marked.items() if rows]
    return Entry(
        key=folder.name,
        path=folder,
        bytes=_bytes(folder),
        rows=sum(header.rows - marked[header.path.name] for header in headers),
        segments=len(segments),
        created=record.created,
        last_used=_last_used(folder),
        description=record.description,
        components=record.components,
        damage=tuple(damage),
    )


def _rows_within(count: int, ranges: Iterable[tuple[int, int]]) -> int:
    """Return how many of `count` rows lie in ranges, which may overlap and go beyond them."""
    inside = np.zeros(count, bool)
    for start, stop in ranges:
        inside[start:stop] = True
    return int(inside.sum())


def _check(folder: Path) -> list[Problem]:
    aside = rows_aside(folder)
    problems = [
        problem
        for path in building.published(folder)
        for problem in check_segment(path, folder.name, aside.get(path.name, frozenset()))
    ]
    try:
        record = read_record(folder)
    except CacheError as error:
        return [*problems, Problem(folder / RECORD, str(error))]
    if record is not None and Fingerprint(dict(record.components)).key != folder.name:
        problems.append(Problem(folder / RECORD, f"its components do not make the key {folder.name}"))
    return problems


def _remove(folder: Path, *, unmark: bool = False) -> bool:
    """Remove a prefix unless it is being used; a kill on the way leaves a smaller prefix that is whole.

    The mark of one that was set aside stays, with the record, unless it is to go too.
    """
    with disk_errors(folder), removing(folder) as free:
        if free:
            marks = set() if unmark or read_quarantine(folder) is None else {QUARANTINE, RECORD}
            for path in sorted(own_files(folder), key=lambda path: path.name == RECORD):
                # Who waits for a lock must not get another.
                if path.suffix not in LOCKS and path.name not in marks:
                    files.remove(path)
            files.fsync_folder(folder)
        return free


def _bytes(folder: Path) -> int:
    total = 0
    for path in own_files(folder):
        try:
            total += path.stat(follow_symlinks=False).st_size
        except FileNotFoundError:  # published or removed by another process at this moment
            continue
    return total


def _last_used(folder: Path) -> float:
    for path in (folder / USED, folder):
        try:
            return path.stat().st_mtime
        except OSError:  # it is gone, or a link in a circle
            continue
    return 0.0

"""From row key to place: which row of which published segment holds what was computed for an input."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np

from reuse.caching.building import published
from reuse.caching.checking import wrong_keys
from reuse.caching.damage import Damage, Ranges, block_damage, rows_aside, set_aside, set_file_aside
from reuse.caching.header import Header
from reuse.caching.segment import KEY_BYTES, UnreadableSegmentError, identify, read_header
from reuse.caching.segment_rows import row_keys, rows_of
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor


class Index:
    """The rows of the published segments of one prefix whose frontier is `frontier`.

    Rows are numbered through all `headers` in order. Segments with other frontier shapes (the same layers applied to
    inputs of another size) are left alone. Rows that were found to be damaged are left out, and files that are no whole
    segments any more are set aside.
    """

    def __init__(self, folder: Path, prefix_key: str, frontier: tuple[FrontierTensor, ...]) -> None:
        self.folder = folder
        self.prefix_key = prefix_key
        self.frontier = frontier
        self._aside: dict[str, Ranges] = {}
        self._unreadable: dict[Path, tuple[int, ...] | None] = {}
        self._clear()

    def refresh(self) -> None:
        """Take in what other processes published or removed since the last time.

        Raises:
            CacheError: a published segment may not be read, or is of another format.
        """
        present, aside = published(self.folder), rows_aside(self.folder)
        aside = {name: ranges | aside.get(name, frozenset()) for name, ranges in {**aside, **self._aside}.items()}
        if aside != self._aside or any(_identity(path) != identity for path, identity in self._seen.items()):
            self._clear()
        self._aside = {name: ranges for name, ranges in aside.items() if (self.folder / name) in present}
        for path in present:
            identity = _identity(path)
            if path not in self._seen and identity not in (None, self._unreadable.get(path)):
                self._take_in(path, identity)

    def set_aside(self, damage: Iterable[Damage]) -> None:
        """Leave damaged rows out from now on, whether or not others are told."""
        aside = dict(self._aside)
        for found in damage:
            aside[found.path.name] = aside.get(found.path.name, frozenset()) | {(found.start, found.stop)}
        self._clear()
        self._aside = aside

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the row number of each of `keys` (n, 16), -1 where there is none; `(n,)` int64."""
        return np.fromiter(map(self._rows.get, as_bytes(keys), repeat(-1)), np.int64, len(keys))

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return for row numbers the positions of their segments in `headers` and the rows inside them."""
        segments = np.searchsorted(self._starts, rows, side="right") - 1
        return segments, rows - np.asarray(self._starts, np.int64)[segments]

    def segments_within(self, keys: np.ndarray) -> list[Path]:
        """Return the segments that hold nothing but rows of `keys`, (n, 16) uint8."""
        known = set(as_bytes(keys))
        return [header.path for header in self.headers if known.issuperset(as_bytes(row_keys(header)))]

    def _clear(self) -> None:
        self.headers: list[Header] = []
        self._seen: dict[Path, tuple[int, ...]] = {}
        self._starts: list[int] = []
        self._rows: dict[bytes, int] = {}

    def _take_in(self, path: Path, identity: tuple[int, ...] | None) -> None:
        try:
            header = read_header(path)
            if header.prefix_key != self.prefix_key:
                raise UnreadableSegmentError(path, f"it belongs to prefix {header.prefix_key}")
            self._add(header)
        except UnreadableSegmentError as error:
            self._unreadable[path] = identity
            set_file_aside(error)
        except CacheError:
            if _identity(path) is not None:  # else somebody has removed it since it was listed
                raise

    def _add(self, header: Header) -> None:
        if header.frontier == self.frontier:
            self._check_keys(header)
            start = self._starts[-1] + self.headers[-1].rows if self.headers else 0
            keys = as_bytes(row_keys(header))
            for first, stop in self._aside.get(header.path.name, ()):
                keys[first:stop] = [b""] * (min(stop, header.rows) - first)  # which nobody asks for
            for row, key in enumerate(keys, start):
                self._rows.setdefault(key, row)
            self.headers.append(header)
            self._starts.append(start)
        self._seen[header.path] = header.identity

    def _check_keys(self, header: Header) -> None:
        """Set aside the rows of blocks whose keys are not what was written: they would be served for others."""
        damage = [block_damage(header, block, "row_key") for block in wrong_keys(header)]
        known = self._aside.get(header.path.name, frozenset())
        new = [found for found in damage if (found.start, found.stop) not in known]
        if new:
            set_aside(new)
            self._aside[header.path.name] = known | {(found.start, found.stop) for found in new}


def as_bytes(keys: np.ndarray) -> list[bytes]:
    """Return row keys, `(n, 16)` uint8, as hashable values.

    Raises:
        CacheError: the array has another shape or type.
    """
    if keys.ndim != 2 or keys.shape[1] != KEY_BYTES or keys.dtype != np.uint8:
        raise CacheError(f"row keys must be an array (rows, {KEY_BYTES}) of uint8, not {keys.shape} of {keys.dtype}")
    values: list[bytes] = np.ascontiguousarray(keys).view(f"V{KEY_BYTES}").reshape(-1).tolist()
    return values


def are_at(headers: Sequence[Header], segments: np.ndarray, rows: np.ndarray, keys: np.ndarray) -> bool:
    """Return whether rows are where they were looked up: another thread may have changed the table meanwhile.

    Args:
        headers: of the segments.
        segments: position of each row's segment among the headers, `(rows,)` int64.
        rows: its place in that segment, `(rows,)` int64.
        keys: its key, `(rows, 16)` uint8.
    """
    try:
        for segment in np.unique(segments).tolist():
            here, header = segments == segment, headers[segment]
            if not np.array_equal(rows_of(header, header.row_key)[rows[here]], keys[here]):
                return False
    except IndexError:
        return False
    return True


def first_places(keys: np.ndarray) -> np.ndarray:
    """Return the first position of each distinct key in `keys`, `(n, 16)` uint8: ascending, `(distinct,)` int64."""
    values = as_bytes(keys)
    halves = np.sort(np.ascontiguousarray(keys).view(np.uint64)[:, 0]) if len(keys) else np.empty(0, np.uint64)
    if (halves[1:] != halves[:-1]).all():  # as a rule; what differs in one half differs
        return np.arange(len(keys))
    backwards = range(len(keys) - 1, -1, -1)
    first = dict(zip(reversed(values), backwards, strict=True))  # the last one to be set is the first one
    return np.sort(np.fromiter(first.values(), np.int64, len(first)))


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        return identify(path)
    except FileNotFoundError:  # removed by another process: not damage
        return None

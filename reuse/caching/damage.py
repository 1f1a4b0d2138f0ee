"""Damage to rows that were published: what is said of it, and the marks that set such rows aside.

A segment is never changed. Rows of it that are not what was written any more are named by an empty file beside it,
`segment-000001.h5.aside-4-8` for rows 4 to 7, and no longer found, so that they are computed again. So is a file that
can no longer be read as a segment at all: `segment-000001.h5.aside`.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reuse.caching import files
from reuse.caching.header import Header
from reuse.caching.ownership import ASIDE, own_files
from reuse.caching.segment import UnreadableSegmentError, damaged
from reuse.caching.segment_rows import HarmedRowsError
from reuse.listing import some_of

log = logging.getLogger(__name__)

SHOWN = 3  # ranges of rows in a line
Ranges = frozenset[tuple[int, int]]
"""First rows, and rows after the last."""


@dataclass(frozen=True)
class Damage:
    """Rows `start` to `stop` (exclusive) of a tensor of a segment that are not what was written."""

    path: Path
    block: int
    start: int
    stop: int
    tensor: str

    def __str__(self) -> str:
        return f"block {self.block}, rows {self.start} to {self.stop - 1} of {self.tensor}, is not what was written"


class DamageError(HarmedRowsError):
    """Rows that were to be read are not what was written.

    Attributes:
        found: which.
    """

    def __init__(self, found: Sequence[Damage]) -> None:
        self.found = tuple(found)
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        super().__init__(str(damaged(found[0].path, f"{found[0]}{more}: wrong checksum")))

    def __reduce__(self) -> tuple[type["DamageError"], tuple[tuple[Damage, ...]]]:
        return DamageError, (self.found,)


def block_damage(header: Header, block: int, tensor: str) -> Damage:
    """Return the damage of a whole block."""
    return Damage(header.path, block, *header.blocks[block], tensor)


def set_aside(found: Iterable[Damage]) -> None:
    """Mark damaged rows, so that nobody reads them any more, and say so in a line for each segment.

    In a folder that cannot be written it makes no difference.
    """
    found = list(found)
    for path in dict.fromkeys(damage.path for damage in found):
        ranges = _joined({(damage.start, damage.stop) for damage in found if damage.path == path})
        rows = some_of([f"{start} to {stop - 1}" for start, stop in ranges], SHOWN)
        log.warning("rows %s of %s are not what was written: set aside, and computed again", rows, path)
        with suppress(OSError):
            for start, stop in ranges:
                files.touch(path.with_name(f"{path.name}.aside-{start}-{stop}"))
            files.fsync_folder(path.parent)


def set_file_aside(error: UnreadableSegmentError) -> None:
    """Mark a file that is no whole segment any more, so that nobody opens it, and say so in a line.

    In a folder that cannot be written it makes no difference.
    """
    path = error.path
    log.warning("%s is no whole cache file any more (%s): set aside, and computed again", path, error.reason)
    with suppress(OSError):
        files.touch(path.with_name(f"{path.name}.aside"))
        files.fsync_folder(path.parent)


def rows_aside(folder: Path) -> dict[str, Ranges]:
    """Return the rows that are set aside in the segments of a prefix, by the names of these."""
    found: dict[str, set[tuple[int, int]]] = {}
    for path in own_files(folder):
        mark = ASIDE.fullmatch(path.name)
        if mark and mark["start"] is not None and path.parent == folder:
            found.setdefault(mark["segment"], set()).add((int(mark["start"]), int(mark["stop"])))
    return {name: frozenset(ranges) for name, ranges in found.items()}


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges in order, those that touch as one."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    return joined

"""Rows that an interrupted process has computed and not published: they count as soon as somebody looks for them."""

from contextlib import suppress
from pathlib import Path

from reuse.caching.building import JOURNAL, building_place, recover
from reuse.caching.locking import alone, disk_errors, ranks_of
from reuse.caching.ownership import link_among
from reuse.caching.quarantine import read_quarantine
from reuse.errors import CacheError


def take_up(folder: Path) -> int:
    """Publish what was left unfinished of the prefix in `folder`; returns the rows saved.

    Nothing is done where somebody writes there now, or where nobody may: whoever fills the cache does it then.
    """
    if link_among(folder) is not None or read_quarantine(folder) is not None:
        return 0
    ranks = [rank for rank in (0, *ranks_of(folder)) if (building_place(folder, rank) / JOURNAL).is_file()]
    with suppress(CacheError):
        if ranks:
            with alone(folder) as is_free, disk_errors(folder):
                return sum(recover(folder, rank) for rank in ranks) if is_free else 0
    return 0

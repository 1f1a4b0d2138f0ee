"""Removing single segments, of rows that nobody will read again."""

from pathlib import Path

from reuse.caching import files
from reuse.caching.ownership import ASIDE, own_files


def discard_segment(path: Path) -> bool:
    """Remove a segment and the marks on its rows; False where the system keeps files that are read, and it stays.

    The caller is alone in writing to the prefix.
    """
    try:
        files.remove(path)
    except PermissionError:  # Windows
        return False
    marks = [(mark, ASIDE.fullmatch(mark.name)) for mark in own_files(path.parent)]
    for mark in [mark for mark, found in marks if found and found["segment"] == path.name]:
        files.remove(mark)
    files.fsync_folder(path.parent)
    return True

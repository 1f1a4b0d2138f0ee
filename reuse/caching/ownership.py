"""What in a cache is the cache's own: nothing else is counted, followed or removed.

A prefix folder is a real folder that is called after a key and says so itself: in its record or, where that is damaged,
in `used` or in one of its segments. In it the cache's files are those of the names below; whatever else lies there, or
is a link, is somebody else's. A cache folder that was used here holds an empty file whose name tells which folder
and which file it is, so that a folder that was brought along with somebody's settings is known from it.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from reuse.caching import files
from reuse.caching.labelling import WORDS_ON_FILE
from reuse.caching.prefix_record import RECORD, USED, read_record
from reuse.errors import CacheError, UsageError
from reuse.escaping import beginning

KEY = re.compile(r"[0-9a-f]{32}")
SEGMENT = re.compile(r"segment-(\d{6,})(-\d+)?\.h5")
ASIDE = re.compile(rf"(?P<segment>{SEGMENT.pattern})\.aside(-(?P<start>\d+)-(?P<stop>\d+))?")
WHOLE_ASIDE = ".h5.aside"  # how the mark of a whole file ends
BUILDING = re.compile(r"building(-\d+)?")
FILES = re.compile(
    r"(prefix|measured|quarantine)\.json(\.new)?|used(\.new)?|probe\.safetensors(\.\d+\.new)?|"
    r"readers\.lock|writer(-\d+)?\.lock(\.held)?"
)
OWN = (FILES, SEGMENT, ASIDE)
UNFINISHED = re.compile(r"journal|salvaged\.h5")
HERE = re.compile(r"\.made-here-([0-9a-f]+)-([0-9a-f]+)")
HEAD_BYTES = 2**16  # of a file, where its words stand


def is_prefix(folder: Path) -> bool:
    """Return whether a folder is a prefix of a cache: by its record, or else by the words in its other files."""
    if not KEY.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
        return False
    with suppress(CacheError):
        record = None if (folder / RECORD).is_symlink() else read_record(folder)
        if record is not None and record.key == folder.name:
            return True
    return any(_has_words(path) for path in own_files(folder) if path.name == USED or SEGMENT.fullmatch(path.name))


def own_files(folder: Path) -> Iterator[Path]:
    """Yield the cache's own files in a prefix folder, those of unfinished segments included; none behind a link."""
    if folder.is_symlink():
        return
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False) and BUILDING.fullmatch(entry.name):
            for inner in _entries(Path(entry.path)):
                if inner.is_file(follow_symlinks=False) and _is_unfinished(inner.name):
                    yield Path(inner.path)
        elif entry.is_file(follow_symlinks=False) and any(names.fullmatch(entry.name) for names in OWN):
            yield Path(entry.path)


def link_among(folder: Path) -> Path | None:
    """Return a link that stands where the cache has a folder or a file of its own; None where there is none."""
    if folder.is_symlink():
        return folder
    for entry in _entries(folder):
        is_ours = any(names.fullmatch(entry.name) for names in (*OWN, BUILDING))
        if is_ours and entry.is_symlink():
            return Path(entry.path)
        if BUILDING.fullmatch(entry.name):
            for inner in _entries(Path(entry.path)):
                if inner.is_symlink() and _is_unfinished(inner.name):
                    return Path(inner.path)
    return None


def refuse_links(folder: Path) -> None:
    """Raise where a link stands in the way of what is to be written or removed.

    Raises:
        CacheError: there is one; it is left alone.
    """
    link = link_among(folder)
    if link is not None:
        raise CacheError(
            f"{link} is a link, and a cache neither writes nor removes through links: move it away, name another "
            "cache-dir or go without a cache (--no-cache)"
        )


def note_made_here(root: Path) -> None:
    """Note in a cache folder that it is used here, where nothing says so yet; it is created."""
    with suppress(OSError):  # then its name is asked about again
        root.mkdir(parents=True, exist_ok=True)
        if not was_made_here(root):
            noting = root / f".made-here.{os.getpid()}"
            files.create(noting, Path.touch)
            files.rename(noting, root / f".made-here-{root.stat().st_ino:x}-{noting.stat().st_ino:x}")


def refuse_long_names(root: Path) -> None:
    """Raise where no file system takes the name of a cache folder, and of what would lie in it.

    Raises:
        UsageError: it is too long.
    """
    try:
        (root / ("0" * 32) / "building" / "segment-000000.h5").lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            what = f"cache-dir is a name too long for a folder: {beginning(root)}"
            raise UsageError(f"{what}; give a shorter one") from error


def was_made_here(root: Path) -> bool:
    """Return whether a cache folder was used here before; one that came in an archive has other inodes."""
    for entry in _entries(root):
        found = HERE.fullmatch(entry.name)
        if found and entry.is_file(follow_symlinks=False):
            inodes = f"{root.stat().st_ino:x}", f"{entry.inode():x}"
            if found.groups() == inodes:
                return True
    return False


def _is_unfinished(name: str) -> bool:
    return bool(UNFINISHED.fullmatch(name) or SEGMENT.fullmatch(name))


def _has_words(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return WORDS_ON_FILE.encode() in file.read(HEAD_BYTES)
    except OSError:
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []

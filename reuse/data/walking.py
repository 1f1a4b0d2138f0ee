"""The files below a folder: each folder once, whatever links there are, and none of those that a system puts there."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

# What network drives, archives of a Mac and other systems put between people's files, in lower case.
from reuse.listing import some_of

SYSTEM_FOLDERS = {
    "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "__macosx",
    "lost+found", "system volume information",
}  # fmt: skip
SYSTEM_FILES = {"thumbs.db", "desktop.ini"}
LISTED = 5  # paths in a line


@dataclass(frozen=True)
class Listing:
    """Files below a folder.

    Attributes:
        paths: of the files, below the folder, parts joined by "/"; in the order of their parts.
        leaves: folders without folders in them, likewise.
        notes: what was left aside, in lines.
    """

    paths: tuple[str, ...]
    leaves: tuple[str, ...]
    notes: tuple[str, ...]


def list_files(folder: Path) -> Listing:
    """Return what is below a folder; names that begin with a dot are passed over.

    Links are followed, but each folder is read once: under its own name where that is below `folder` too.

    Raises:
        OSError: a folder cannot be read.
    """
    walk = _Walk(str(folder))
    walk.read("")
    while walk.links:
        links, walk.links = sorted(walk.links), []
        for link in links:
            walk.follow(link)
    notes = []
    if walk.again:
        notes.append(_listed(walk.again, "leads to a folder that was read already and was"))
    if walk.pipes:
        notes.append(_listed(walk.pipes, "is no regular file and was"))
    notes += [f"left aside: {count} × {name}" for name, count in sorted(walk.system.items())]
    return Listing(tuple(sorted(walk.paths, key=parts_of)), tuple(sorted(walk.leaves, key=parts_of)), tuple(notes))


def parts_of(path: str) -> list[str]:
    """Return the folders of a path and its name."""
    return path.split("/")


class _Walk:
    """One pass over folders.

    Attributes:
        paths: files found so far.
        leaves: folders without folders.
        links: to folders, to be followed when all others are read.
        again: links that lead to a folder that was read before.
        pipes: what is neither file nor folder.
        system: folders that a system has put there, counted by name.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.paths: list[str] = []
        self.leaves: list[str] = []
        self.links: list[str] = []
        self.again: list[str] = []
        self.pipes: list[str] = []
        self.system: Counter[str] = Counter()
        self._seen: set[tuple[int, int]] = set()

    def read(self, place: str) -> None:
        """Read the folder `place` below the root, and those in it."""
        waiting = [place]
        while waiting:
            waiting += self._read_one(waiting.pop())

    def _read_one(self, place: str) -> list[str]:
        """Read a folder, and return those in it."""
        path = f"{self.root}/{place}" if place else self.root
        status = os.stat(path)  # noqa: PTH116 - 50,000 names are to be listed in a moment
        self._seen.add((status.st_dev, status.st_ino))
        folders: list[str] = []
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    self._sort(entry, f"{place}/{entry.name}" if place else entry.name, folders)
        if not folders and place and not any(link.startswith(f"{place}/") for link in self.links):
            self.leaves.append(place)
        return folders

    def follow(self, link: str) -> None:
        """Read the folder that a link leads to, unless it was read before."""
        status = os.stat(f"{self.root}/{link}")  # noqa: PTH116 - as above
        if (status.st_dev, status.st_ino) in self._seen:
            self.again.append(link)
        else:
            self.read(link)

    def _sort(self, entry: os.DirEntry[str], path: str, folders: list[str]) -> None:
        if entry.is_dir(follow_symlinks=False):
            if entry.name.lower() in SYSTEM_FOLDERS:
                self.system[entry.name] += 1
            else:
                folders.append(path)
        elif entry.is_dir():
            self.links.append(path)
        elif entry.is_file() or entry.is_symlink():  # a link that leads nowhere is named as what cannot be read
            if entry.name.lower() not in SYSTEM_FILES:
                self.paths.append(path)
        else:
            self.pipes.append(path)


def _listed(paths: list[str], reason: str) -> str:
    named = some_of(sorted(paths), LISTED)
    return f"{named}: each {reason} left aside" if len(paths) > 1 else f"{named} {reason} left aside"

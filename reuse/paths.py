"""Where paths lead: from whose home, behind which links, and to the cache where none is named."""

import os
from pathlib import Path


def from_home(path: str | Path) -> Path:
    """Return a path in which a leading `~` is the home of whom it names; of nobody, it is what it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - a Path's own raises where nobody is called so


def real_path(path: str | Path) -> Path:
    """Return where a path leads, `~` and links followed as far as they go: those in circles lead to themselves."""
    try:
        return Path(os.path.realpath(from_home(path)))
    except ValueError:  # no name has a character of number 0
        return Path(path)


def cache_folder(folder: str | Path | None = None) -> Path:
    """Return where activations are kept: `folder`, else `$REUSE_CACHE`, else `./cache`."""
    return from_home(folder or os.environ.get("REUSE_CACHE") or "cache")

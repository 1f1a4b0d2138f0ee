"""Where torch.fx and torch.export could not follow a forward, in plain words."""

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

import reuse
from reuse.errors import CutError
from reuse.layers.recording import Untraceable
from reuse.layers.trace_errors import known_words, line_of, named_line_of

_PLACES = sysconfig.get_paths()
_LIBRARY = {Path(_PLACES[name]) for name in ("stdlib", "platstdlib")}  # Python's own
_INSTALLED = {Path(_PLACES[name]) for name in ("purelib", "platlib")}
_TOOLS = {Path(str(module.__file__)).parent for module in (torch, reuse)}  # what follows, wherever it lies


@contextmanager
def followed() -> Iterator[None]:
    """Say where the forward stood that the block could not follow.

    Raises:
        Untraceable: in place of what torch raised, which tells of its own objects.
    """
    try:
        yield
    except Exception as error:
        raise Untraceable(why_unfollowed(error)) from error


def why_unfollowed(error: Exception) -> str:
    """Return what a forward does that could not be followed: in known words, or the line of it."""
    if isinstance(error, CutError | Untraceable):
        return line_of(error)
    return known_words(error) or _step(error) or named_line_of(error)


def _step(error: Exception) -> str | None:
    """Return the last line of a user's own that an error came by, or of the package that their model is from.

    None where there is none, or it raised the error.
    """
    frames = traceback.extract_tb(error.__traceback__)
    steps = [f for f in frames if _is_own(f.filename)] or [f for f in frames if _is_theirs(f.filename)]
    if not steps or not steps[-1].line or steps[-1].line.startswith("raise "):
        return None
    last = steps[-1]
    return f"its forward cannot be followed through `{last.line}` ({Path(last.filename).name}, line {last.lineno})"


def _is_own(filename: str) -> bool:
    return _is_theirs(filename) and not _lies_in(_INSTALLED, filename)


def _is_theirs(filename: str) -> bool:
    """Return whether a file is neither a tool's nor Python's own, below which packages may be installed."""
    if filename.startswith("<") or _lies_in(_TOOLS, filename):
        return False
    return _lies_in(_INSTALLED, filename) or not _lies_in(_LIBRARY, filename)


def _lies_in(folders: set[Path], filename: str) -> bool:
    return any(Path(filename).is_relative_to(folder) for folder in folders)

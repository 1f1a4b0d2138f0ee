"""Where torch.fx and torch.export could not follow a forward, in plain words."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

import reuse
from reuse.errors import CutError
from reuse.layers.recording import Untraceable
from reuse.layers.trace_errors import known_words, line_of, named_line_of

_NOT_THEIRS = tuple(str(Path(str(module.__file__)).parent) for module in (torch, reuse))


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
    """Return the last line of a user's own that an error came by; None where there is none, or it raised the error."""
    steps = [f for f in traceback.extract_tb(error.__traceback__) if _is_theirs(f.filename)]
    if not steps or not steps[-1].line or steps[-1].line.startswith("raise "):
        return None
    last = steps[-1]
    return f"its forward cannot be followed through `{last.line}` ({Path(last.filename).name}, line {last.lineno})"


def _is_theirs(filename: str) -> bool:
    return not filename.startswith(("<", *_NOT_THEIRS))

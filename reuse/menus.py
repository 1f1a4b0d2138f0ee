"""Finding a name in a menu, with the nearest names where it is not there."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from reuse.errors import UnknownNameError

T = TypeVar("T")


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `names` that resemble `name`, best first; letter case and `-`/`_` do not matter."""
    folded: dict[str, str] = {}
    for candidate in names:
        folded.setdefault(_fold(candidate), candidate)
    return [folded[match] for match in get_close_matches(_fold(name), folded, n=count, cutoff=0.5)]


def lookup(menu: Mapping[str, T], name: str, kind: str) -> T:
    """Return `menu[name]`.

    Args:
        menu: names and what they stand for.
        name: the name that the user gave.
        kind: what the menu holds, in the singular ("optimizer"), for the message.

    Raises:
        UnknownNameError: `name` is not in the menu; the message gives the nearest names, or all of a short menu.

    Example:
        >>> lookup({"sgd": 1, "adam": 2}, "adam", "optimizer")
        2
    """
    if name in menu:
        return menu[name]
    raise UnknownNameError(f"unknown {kind} {name!r}: {suggest(name, menu)}")


def suggest(name: str, names: Iterable[str], longest_list: int = 12) -> str:
    """Return "did you mean …?" with the nearest of `names`, or all of them where none is near and they are few."""
    names = list(names)
    near = nearest(name, names)
    if near:
        return f"did you mean {' or '.join(repr(n) for n in near)}?"
    if len(names) <= longest_list:
        return f"choose one of {', '.join(sorted(names))}"
    return f"none of the {len(names)} known names is near it"


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")

"""Pieces of a description of the user's own code: functions and classes, and what each consists of."""

from dataclasses import dataclass
from typing import Any

Names = frozenset[str] | None
"""Names that are read; None: any may be."""


class Said(str):
    """Part of a description that is text already."""

    __slots__ = ()


@dataclass(frozen=True)
class Made:
    """A class that code may make objects of, so that it counts how they are made."""

    kind: type


@dataclass(frozen=True)
class Parts:
    """What a function or class consists of, whoever describes it.

    Attributes:
        thing: the function or class.
        parts: labels and values.
        receivers: by id of a method, the variable that holds its object.
        also_read: names that count as read because of it.
        asked: modules of which it matters whether they are the user's own.
    """

    thing: object
    parts: list[tuple[str, object]]
    receivers: dict[int, str]
    also_read: set[str]
    asked: set[str]


KnownParts = dict[tuple[Names, int, bool], Parts]
"""Parts by the names that are read, and by what they are of: true as long as nothing is changed."""


def plain(thing: Any) -> Any:
    """Return a function or class itself."""
    return thing.kind if isinstance(thing, Made) else thing


def identity(thing: object) -> tuple[int, bool]:
    """Return what tells a function or class from others, and whether objects of the class may be made."""
    return id(plain(thing)), isinstance(thing, Made)

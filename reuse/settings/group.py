"""A group of settings, and the kinds of values that several groups have."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from reuse.errors import UsageError
from reuse.settings.setting import Maximum, Minimum, Text, settings_of
from reuse.units import parse_bytes


def _count(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[+-]?\d+", text.strip()) else text


def read_shape(text: str) -> tuple[int, ...]:
    """Return the numbers in a text such as `3,64,64` or `64x48`.

    Raises:
        UsageError: it holds no whole numbers.
    """
    parts = re.split(r"[x,]", text)
    if not all(re.fullmatch(r"\s*[+-]?\d+\s*", part) for part in parts):
        raise UsageError(f"{text!r} holds no whole numbers: write for example 3,64,64, or 64x48 for a size")
    return tuple(int(part) for part in parts)


def _size(text: str) -> int | tuple[int, ...]:
    sizes = read_shape(text)
    return sizes[0] if len(sizes) == 1 else sizes


def _amount(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


MOST_PIXELS = 2**14  # of a side; libraries for images go to this size or a little above
SIDES = (Minimum(1, "give one whole number above 0, or height and width"), Maximum(MOST_PIXELS))

Count = Annotated[int, Minimum(1), Maximum(10**9)]
"""A whole number of 1 or more."""
LabelCount = Annotated[int | str | None, Text("N or N/class", _count)]
"""So many labelled rows in all, or of each class."""
Classes = Annotated[str | int | Sequence[str | int] | None, Text("A,B or A-B", _count)]
"""Which classes to keep: names, numbers, or from one number to another."""
ImageSize = Annotated[int | Sequence[int] | None, Text("PIXELS or HxW", _size), *SIDES]
"""Pixels, one number or height and width."""
Columns = Annotated[str | Sequence[str], Text("COLUMNS", repeated=True)]
"""Columns of a table: one, several separated by commas, or a list."""
Patterns = Annotated[str | Sequence[str], Text(repeated=True)]
"""Patterns of layers (see `reuse.layers.selecting`)."""
Amount = Annotated[float | str | None, Text("NUMBER or LAYER=NUMBER,…", _amount)]
"""One number for all layers, or a number by layer."""
Bytes = Annotated[int | None, Text("BYTES", parse_bytes)]
"""Bytes, as a number or as a text such as `2GB`."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A group of settings, checked: values are of the types that the group says.

    Raises:
        UsageError: a value that a setting does not take; the message says which it takes.
    """

    def __post_init__(self) -> None:
        for name, setting in settings_of(type(self)).items():
            object.__setattr__(self, name, setting.checked(getattr(self, name)))

    def without_effect(self, given: Iterable[str]) -> dict[str, str]:
        """Return which settings do nothing beside the others, by name, with why and what to do.

        Args:
            given: names of what counts as given, where it is not the default.
        """
        known, found = settings_of(type(self)), dict[str, str]()
        for name in given:
            setting = known.get(name)
            needed = known.get(setting.needs or "") if setting else None
            if setting and needed and getattr(self, name) != setting.default and not _is_on(getattr(self, needed.name)):
                is_off = f"with {needed.name} off: leave one of the two out"
                is_absent = f"without {needed.name}: give that too, or leave {name} out"
                found[name] = is_off if needed.default is True else is_absent
        return found


def _is_on(value: Any) -> bool:
    return any(value) if isinstance(value, tuple) else bool(value)

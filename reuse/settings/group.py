"""A group of settings, and the kinds of values that several groups have."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from reuse.errors import UsageError
from reuse.settings.setting import Minimum, Text, settings_of
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


Count = Annotated[int, Minimum(1)]
"""A whole number of 1 or more."""
LabelCount = Annotated[int | str | None, Text("N or N/class", _count)]
"""So many labelled rows in all, or of each class."""
Classes = Annotated[str | int | Sequence[str | int] | None, Text("A,B or A-B", _count)]
"""Which classes to keep: names, numbers, or from one number to another."""
ImageSize = Annotated[int | Sequence[int] | None, Text("PIXELS or HxW", _size)]
"""Pixels, one number or height and width."""
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

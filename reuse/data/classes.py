"""Keeping some classes of a data set, re-numbered from 0 in their old order."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reuse.data.raw import RawData
from reuse.errors import DataError, UsageError
from reuse.menus import suggest


def keep_classes(source: RawData, classes: str | int | Sequence[str | int] | None) -> RawData:
    """Return `source` with only the rows of `classes`; rows keep their numbers in the data set.

    Args:
        source: the data set.
        classes: names, numbers from 0 or ranges of numbers: one, a list, or separated by commas: "0-7", "5,6",
            "cat,dog". Where classes are called by numbers, a number is a name. None keeps all.

    Raises:
        UsageError: an unknown class, or a data set without classes.
        DataError: fewer than two classes are left.
    """
    if classes is not None:
        source = _with_only(source, _chosen(source, classes))
    if source.task == "classification" and len(source.classes) < 2:
        only = ", ".join(source.classes) or "(none)"
        raise DataError(f"{source.name} has only the class {only}: expected two classes or more")
    return source


def _chosen(source: RawData, classes: str | int | Sequence[str | int]) -> list[int]:
    if source.task != "classification":
        raise UsageError(f"classes={classes!r}: {source.name} is {source.task}, and has no classes to choose from")
    if isinstance(classes, (str, int, np.integer)):
        classes = str(classes).split(",")
    items = [str(item).strip() for item in classes]
    numbers = {number for item in items for number in _numbers_of(item, source.classes)}
    if not numbers:
        raise UsageError(f"classes={classes!r} names no class: give names or numbers such as 0-7 or 5,6")
    return sorted(numbers)


def _numbers_of(item: str, names: tuple[str, ...]) -> list[int]:
    """Return the positions that a name, a number or a range stands for."""
    if item in names:
        return [names.index(item)]
    span = re.fullmatch(r"([0-9]+)-([0-9]+)", item)
    if span and int(span[1]) <= int(span[2]):
        return [_position(str(n), names, item) for n in range(int(span[1]), int(span[2]) + 1)]
    return [_position(item, names, item)]


def _position(item: str, names: tuple[str, ...], given: str) -> int:
    if item in names:
        return names.index(item)
    if item.isascii() and item.isdigit() and not all(name.lstrip("-").isdigit() for name in names):
        if int(item) < len(names):
            return int(item)
        raise UsageError(f"class {given!r}: the {len(names)} classes are numbered 0 to {len(names) - 1}")
    raise UsageError(f"class {given!r} is not there: {suggest(item, names)}")


def _with_only(source: RawData, kept: list[int]) -> RawData:
    assert source.targets is not None
    new_numbers = np.full(len(source.classes), -1, np.int64)
    new_numbers[kept] = np.arange(len(kept))
    targets = new_numbers[source.targets]
    rows = source.rows[targets[source.rows] >= 0]
    return replace(source, targets=targets, rows=rows, classes=tuple(source.classes[number] for number in kept))

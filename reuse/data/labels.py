"""Labels to learn from: some classes of a data set, and only so many labelled rows."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reuse.data.letters import composed
from reuse.data.raw import RawData
from reuse.data.splitting import Parts
from reuse.errors import DataError, UsageError
from reuse.menus import suggest
from reuse.units import format_count, verb_of

KeptClasses = str | int | Sequence[str | int]
"""Names, numbers from 0 or ranges of numbers: one, a list, or separated by commas."""
ALL_LABELS = "all"
VALID_SHARE = 0.2


def labelled_rows(source: RawData) -> RawData:
    """Return `source` with only the rows that have a label, and a note where others are left aside.

    Rows keep their numbers in the data set.
    """
    if source.targets is None or (known := source.is_labelled[source.rows]).all():
        return source
    count = int((~known).sum())
    left = verb_of(count, "has no label: it is", "have no label: they are")
    note = f"{count} of {format_count(len(known), 'row')} {left} left aside"
    return replace(source, rows=source.rows[known], notes=(*source.notes, note))


def keep_classes(source: RawData, classes: KeptClasses | None) -> RawData:
    """Return `source` with only the rows of `classes`, re-numbered from 0 in their old order.

    Rows keep their numbers in the data set.

    Args:
        source: the data set.
        classes: names, numbers from 0 or ranges of numbers: one, a list, or separated by commas: "0-7", "5,6",
            "cat,dog". Where classes are called by numbers, a number is a name. None keeps all.

    Raises:
        UsageError: an unknown class, or a data set without classes.
        DataError: fewer than two classes are left.
    """
    if classes is not None:
        source = _with_classes(source, _numbers_of_classes(source, classes))
    if source.task == "classification" and len(source.classes) < 2:
        only = ", ".join(source.classes) or "(none)"
        raise DataError(f"{source.name} has only the class {only}: expected two classes or more")
    return source


def keep_the_same(ours: KeptClasses, theirs: KeptClasses | None, names: tuple[str, ...]) -> bool:
    """Return whether two selections of classes, as `keep_classes` takes them, keep the same ones of a data set.

    Args:
        ours: classes.
        theirs: classes; None keeps all.
        names: of those that `theirs` keeps.
    """
    listed = {one for item in _items(ours) for one in _spelled_out(item, names)}
    if theirs is not None and listed == {one for item in _items(theirs) for one in _spelled_out(item, names)}:
        return True
    counted = theirs is None and not all(name.lstrip("-").isdigit() for name in names)
    return listed in (set(names), {str(number) for number in range(len(names))} if counted else set())


def few_labels(source: RawData, parts: Parts, labels: int | str, seed: int) -> Parts:
    """Return `parts` with only so many labelled rows in training and validation together; the test split stays.

    A class gets rows in proportion to its size, at least one (Sainte-Laguë's method, which never takes a row away when
    N grows: the rows of a smaller N are among those of a larger). A fifth of them validate, at least one of each class
    that has two.

    Args:
        source: the data set.
        parts: its splits.
        labels: how many rows in all, or "N/class".
        seed: the same seed gives the same rows.

    Raises:
        UsageError: `labels` is not a whole number above 0, or "N/class".
        DataError: more labels than rows, or fewer than one a class.
    """
    count, is_per_class = parse_labels(labels)
    if is_per_class and source.task != "classification":
        raise UsageError(
            f"labels={labels!r}: only classification has classes, this is {source.task}: give a number of rows"
        )
    if source.targets is None:
        raise UsageError(f"labels={labels!r}: {source.name} has no targets")
    if source.groups is not None:
        return _few_by_group(source, parts, count, is_per_class, seed)
    rows = _choose(source, np.union1d(parts.train, parts.valid), count, is_per_class, seed)
    return _divide(source, rows, parts)


def parse_labels(labels: int | str) -> tuple[int, bool]:
    """Return how many, and whether that is for each class: `"10/class"` gives (10, True).

    Raises:
        UsageError: anything else than N or "N/class", N a whole number above 0.
    """
    match = re.fullmatch(r"([0-9]+)(/class)?", str(labels).strip())
    if isinstance(labels, bool) or not match or int(match[1]) == 0:
        raise UsageError(f"labels={labels!r}: give a whole number above 0, or one a class such as 10/class")
    return int(match[1]), match[2] is not None


def _numbers_of_classes(source: RawData, classes: KeptClasses) -> list[int]:
    if source.task != "classification":
        raise UsageError(f"classes={classes!r}: {source.name} is {source.task}, and has no classes to choose from")
    numbers = {number for item in _items(classes) for number in _numbers_of_item(item, source.classes)}
    if not numbers:
        raise UsageError(f"classes={classes!r} names no class: give names or numbers such as 0-7 or 5,6")
    return sorted(numbers)


def _items(classes: KeptClasses) -> list[str]:
    several = str(classes).split(",") if isinstance(classes, (str, int, np.integer)) else classes
    return [composed(str(item).strip()) for item in several]


def _numbers_of_item(item: str, names: tuple[str, ...]) -> list[int]:
    """Return the positions that a name, a number or a range stands for."""
    return [_position(one, names, item) for one in _spelled_out(item, names)]


def _spelled_out(item: str, names: tuple[str, ...]) -> list[str]:
    """Return what a range stands for, one by one, and any other item alone."""
    span = None if item in names else re.fullmatch(r"([0-9]+)-([0-9]+)", item)
    if span and int(span[1]) <= int(span[2]):
        return [str(number) for number in range(int(span[1]), int(span[2]) + 1)]
    return [item]


def _position(item: str, names: tuple[str, ...], given: str) -> int:
    if item in names:
        return names.index(item)
    if item.isascii() and item.isdigit() and not all(name.lstrip("-").isdigit() for name in names):
        if int(item) < len(names):
            return int(item)
        raise UsageError(f"class {given!r}: the {len(names)} classes are numbered 0 to {len(names) - 1}")
    raise UsageError(f"class {given!r} is not there: {suggest(item, names)}")


def _with_classes(source: RawData, kept: list[int]) -> RawData:
    assert source.targets is not None
    new_numbers = np.full(len(source.classes), -1, np.int64)
    new_numbers[kept] = np.arange(len(kept))
    targets = new_numbers[source.targets]
    rows = source.rows[targets[source.rows] >= 0]
    return replace(source, targets=targets, rows=rows, classes=tuple(source.classes[number] for number in kept))


def _choose(source: RawData, rows: np.ndarray, count: int, is_per_class: bool, seed: int) -> np.ndarray:
    """Return `count` of `rows` (a class), those of one class or data set in the order of their importance."""
    if source.task != "classification":
        _refuse_too_many(count, len(rows), "rows")
        return np.random.default_rng([seed % 2**64, 0]).permutation(rows)[:count]
    assert source.targets is not None
    ordered, keys, sizes = [], [], {}
    for number, name in enumerate(source.classes):
        members = rows[source.targets[rows] == number]
        sizes[name] = len(members)
        ordered.append(np.random.default_rng([seed % 2**64, number]).permutation(members))
        key = (np.arange(len(members)) + 0.5) / max(1, len(members))
        keys.append(np.where(np.arange(len(members)) == 0, -1.0, key))  # the first of each class before all others
    if is_per_class:
        smallest = min(sizes, key=lambda name: sizes[name])
        _refuse_too_many(count, sizes[smallest], f"rows of class {smallest}")
        return np.concatenate([members[:count] for members in ordered])
    if count < len(source.classes):
        raise DataError(f"{format_count(count, 'label')} for {len(source.classes)} classes: give at least one a class")
    _refuse_too_many(count, len(rows), "rows")
    return np.concatenate(ordered)[np.argsort(np.concatenate(keys), kind="stable")][:count]


def _divide(source: RawData, rows: np.ndarray, parts: Parts) -> Parts:
    """Return the labelled `rows` as training and validation rows."""
    if source.task == "classification" and source.targets is not None:
        strata = source.targets[rows]
        members = [rows[strata == number] for number in range(len(source.classes))]
    else:
        members = [rows]
    counts = [max(1, round(VALID_SHARE * len(m))) if len(m) > 1 else 0 for m in members]
    valid = np.concatenate([m[:n] for m, n in zip(members, counts, strict=True)])
    train = np.concatenate([m[n:] for m, n in zip(members, counts, strict=True)])
    notes = (
        parts.notes
        if len(valid)
        else (
            *parts.notes,
            f"{format_count(len(rows), 'label')} {verb_of(len(rows), 'leaves', 'leave')} none for validation",
        )
    )
    return Parts(np.sort(train), np.sort(valid), parts.test, notes)


def _few_by_group(source: RawData, parts: Parts, count: int, is_per_class: bool, seed: int) -> Parts:
    """Draw from training and validation apart, as a group must not stand in both."""
    if is_per_class:
        raise UsageError("labels as N/class cannot be drawn where group_by is given: give a number of rows")
    num_valid = round(VALID_SHARE * count) if len(parts.valid) else 0
    order = np.random.default_rng([seed % 2**64, 1]).permutation(parts.valid)
    _refuse_too_many(num_valid, len(order), "validation rows")
    train = _choose(source, parts.train, count - num_valid, is_per_class, seed)
    return Parts(np.sort(train), np.sort(order[:num_valid]), parts.test, parts.notes)


def _refuse_too_many(count: int, available: int, what: str) -> None:
    if count > available:
        raise DataError(
            f"{count} labels asked for, and there are {available} {what} outside the test split: give fewer"
        )

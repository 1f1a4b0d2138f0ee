"""Classes and splits of files from the folders that they lie in."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from reuse.data.letters import composed
from reuse.data.split_names import SPLIT_NAMES
from reuse.data.walking import parts_of
from reuse.errors import DataError

LISTED = 5  # folders named in an error


@dataclass(frozen=True)
class Placement:
    """Where files lie.

    Attributes:
        splits: "train", "valid" or "test" of each file, "" where the user does not split.
        labels: the class of each file, "" without classes.
    """

    splits: list[str]
    labels: list[str]


def place(paths: Sequence[str], where: str) -> Placement:
    """Return the split and the class of each file, as its folders say.

    `CLASS/…` are classes. Folders with the usual names of splits, in any case and with more around (`Training`,
    `seg_test`), above class folders are the user's own splits, where one of them is for training. A folder around
    everything is passed over. Names are compared as they look: composed and decomposed letters are one.

    Args:
        paths: below a folder, parts joined by "/".
        where: the folder, for messages.

    Raises:
        DataError: folders that could be splits as well as classes, or files beside class folders or splits.
    """
    rows = [parts_of(composed(path)) for path in paths]
    rows = _unwrapped(rows)
    roles = _roles(rows, where)
    splits = [roles[row[0]] if roles else "" for row in rows]
    below = _below_splits(rows, splits) if roles else rows
    labels = [row[0] if len(row) > 1 else "" for row in below]
    if any(labels) and not all(labels):
        stray = labels.index("")
        raise DataError(f"{where}: {paths[stray]} {_how_to_place(splits[stray])}")
    return Placement(splits, labels)


def _unwrapped(rows: list[list[str]]) -> list[list[str]]:
    """Return paths without the folders that hold everything, as archives have them."""
    while rows and len({row[0] for row in rows}) == 1 and all(len(row) > 2 for row in rows):
        if _role(rows[0][0]) == "train":
            break
        rows = [row[1:] for row in rows]
    return rows


def _roles(rows: list[list[str]], where: str) -> dict[str, str]:
    """Return the split that each uppermost folder is; none where they are classes.

    Raises:
        DataError: some are splits and others are not, two are one split, or all hold the same class folders and
            nothing says which of them is for training.
    """
    inside: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        inside[row[0]].update([row[1]] if len(row) > 2 else [])
    roles = {top: _role(top) for top in inside}
    train = next((top for top, role in roles.items() if role == "train" and inside[top]), None)
    # A class may be called freight_train; one folder named so beside a crash_test, both of class folders, is a split.
    if train is None or (train.casefold() not in SPLIT_NAMES and len({*roles.values()} - {""}) < min(2, len(roles))):
        _refuse_alike(rows, inside, where)
        return {}
    _refuse_beside(roles, train, where)
    return roles


def _role(folder: str) -> str:
    """Return the split that a word of a folder's name means, "" where none or several do."""
    meant = {SPLIT_NAMES[word] for word in re.split(r"[^a-z]+", folder.casefold()) if word in SPLIT_NAMES}
    return meant.pop() if len(meant) == 1 else ""


def _refuse_beside(roles: dict[str, str], train: str, where: str) -> None:
    outside = sorted(top for top, role in roles.items() if not role)
    if outside:
        raise DataError(
            f"{where}: {', '.join(outside[:LISTED])} stands beside {train}, which holds class folders: move it away or "
            f"into a split ({', '.join(SPLIT_NAMES)}); where {train} is itself a class, leave no folders in it"
        )
    for role in roles.values():
        alike = sorted(top for top, other in roles.items() if other == role)
        if len(alike) > 1:
            raise DataError(f"{where}: {' and '.join(alike)} both mean {role}: put them into one folder, or rename one")


def _refuse_alike(rows: list[list[str]], inside: dict[str, set[str]], where: str) -> None:
    """Raise where all folders hold the same class folders: they are splits, and it cannot be said which is which."""
    flat = {row[0] for row in rows if len(row) <= 2}
    nested = {top: folders for top, folders in inside.items() if top not in flat}
    classes = max(nested.values(), key=len, default=set())
    if len(nested) > 1 and len(classes) > 1 and all(folders <= classes for folders in nested.values()):
        raise DataError(
            f"{where}: {_named(nested)} all hold the same folders ({_named(classes)}), so they look like splits and "
            "not like classes: call the one to learn from train, the others valid and test; where they are classes, "
            "put their pictures right into them"
        )


def _below_splits(rows: list[list[str]], splits: list[str]) -> list[list[str]]:
    """Return paths below the splits, and below a folder of the same split within, as archives in folders have it."""
    for split in set(splits):
        own = [row for row, other in zip(rows, splits, strict=True) if other == split]
        inner = {row[1] for row in own if len(row) > 3}
        if len(inner) == 1 and all(len(row) > 3 for row in own) and _role(next(iter(inner))) == split:
            rows = [row[1:] if other == split else row for row, other in zip(rows, splits, strict=True)]
    return [row[1:] for row in rows]


def _how_to_place(split: str) -> str:
    if split in ("valid", "test"):
        return "has no class folder: predict it with `reuse predict`, or move it"
    return "lies beside class folders: move it into one"


def _named(folders: set[str] | dict[str, set[str]]) -> str:
    listed = sorted(folders)
    return ", ".join(listed[:LISTED]) + (", …" if len(listed) > LISTED else "")

"""Targets: from whatever stands in a column or an array to class numbers, labels or numbers, and which task that is."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reuse.data.column_types import is_number, told_apart
from reuse.data.letters import composed
from reuse.data.table_libraries import pd
from reuse.errors import DataError
from reuse.listing import differ_in_case
from reuse.menus import lookup
from reuse.units import format_count

WHOLE_NUMBER = re.compile(r"-?(0|[1-9]\d{0,15})")
MOST_INTEGER_CLASSES = 100
FEW_CLASSES = 20


@dataclass(frozen=True)
class Targets:
    """Encoded targets.

    Attributes:
        values: int64 `(n,)` for classification, float32 `(n, labels)` for several labels, else float64 `(n, outputs)`;
            -1 or NaN for a row without a label.
        task: "classification", "multilabel" or "regression".
        classes: names of classes or labels; empty for regression.
        note: how the task was inferred, where another reading is likely; else empty.
    """

    values: np.ndarray
    task: str
    classes: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class TargetScale:
    """The standard scale in which numbers are learned, fitted to the targets of the training rows.

    A network begins with outputs around 0 of a size around 1, so it learns house prices in dollars as little as an
    offset of a million: it is trained on `(target - mean) / std`, and what it gives is put back.

    Attributes:
        mean: one a target.
        std: one a target, above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, values: np.ndarray, weights: np.ndarray | None = None) -> TargetScale:
        """Return the scale of targets `(n, outputs)`, with rows of weights `(n,)`; a constant is moved to 0."""
        from sklearn.preprocessing import (
            StandardScaler,  # scikit-learn takes a second to import, and not every command needs it
        )

        scaler = StandardScaler().fit(values, sample_weight=weights)
        return cls(tuple(scaler.mean_.tolist()), tuple(scaler.scale_.tolist()))

    def standardised(self, targets: Tensor) -> Tensor:
        """Return targets `(n, outputs)` in the standard scale, float64: near a large mean, float32 has no digits."""
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (self.mean, self.std))
        return (targets.double() - mean) / std

    def restored(self, outputs: Tensor) -> Tensor:
        """Return outputs `(n, outputs)` in the targets' own units, in the type and on the device of `outputs`."""
        return outputs * outputs.new_tensor(self.std) + outputs.new_tensor(self.mean)

    @property
    def note(self) -> str:
        """What is done, for the user."""
        by = f" (mean {self.mean[0]:g}, standard deviation {self.std[0]:g})" if len(self.mean) == 1 else ""
        return f"targets are standardised on the training rows{by}; predictions and metrics are in their own units"

    def to_dict(self) -> dict[str, list[float]]:
        """Return plain values for run.json."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, list[float]]) -> TargetScale:
        """Return the scale that `to_dict` described."""
        return cls(tuple(map(float, values["mean"])), tuple(map(float, values["std"])))


def encode_targets(raw: np.ndarray, names: tuple[str, ...] = ("y",), task: str | None = None) -> Targets:
    """Return targets encoded for the task that they imply, or for the one that is asked for.

    One target: strings, booleans and integers of at most 100 different values are classes, in sorted order; other
    numbers are regressed on. Several targets, whatever their type: where all are 0 or 1, they are classes if each row
    has exactly one 1 (one-hot), else labels; other numbers are regressed on.
    Whole numbers that became floats only because some are missing are integers.

    Args:
        raw: `(n,)` or `(n, targets)`; an object array of str or None, or numbers; a row of which all are None or NaN
            has no label.
        names: what the targets are called, for messages and labels.
        task: of `TASKS`; None: what the targets look like.

    Raises:
        UsageError: there is no such task.
        DataError: no row has a label, some targets of a row are missing, one is infinite or not of the task.
    """
    raw = np.asarray(raw)
    if task is not None:
        lookup(TASKS, task, "task")
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim not in (1, 2):
        raise DataError(f"targets of shape {raw.shape}: expected (rows,) or (rows, targets)")
    missing = _unlabelled(raw, names)
    if missing.all():
        raise DataError(f"target {names[0]!r} has no value in any row: name another column with target")
    held = raw[~missing]
    if held.dtype.kind == "O" and not all(isinstance(value, str) for value in held.flat):
        held = _plain_numbers(held)
    if missing.any() and held.dtype.kind == "f" and (held % 1 == 0).all() and (np.abs(held) < 2**53).all():
        held = held.astype(np.int64)
    if task is not None:
        encoded = TASKS[task](held, names, np.flatnonzero(~missing))
    else:
        encoded = _encode_one(held, names[0]) if raw.ndim == 1 else _encode_several(held, names)
    return _spread(encoded, missing) if missing.any() else encoded


def _plain_numbers(held: np.ndarray) -> np.ndarray:
    """Return numbers that came as objects as numbers again, whole ones that no 64 bits hold as they are."""
    numbers = np.array(held.tolist())
    is_rounded = numbers.dtype.kind == "f" and all(isinstance(value, int | np.integer) for value in held.flat)
    return held if is_rounded else numbers


def _encode_one(raw: np.ndarray, name: str) -> Targets:
    is_whole = raw.dtype.kind in "iu" or (raw.dtype.kind == "O" and isinstance(raw.flat[0], int))
    if raw.dtype.kind in "OUSb" and not is_whole:
        encoded = _classes(raw, (name,))
        alike = differ_in_case(encoded.classes)
        return replace(encoded, note=f"target {name!r}: {alike}" if alike else "")
    values = np.unique(raw)
    if is_whole and len(values) <= MOST_INTEGER_CLASSES:
        note = (
            f"target {name!r} takes {len(values)} different integers: classification"
            if len(values) > FEW_CLASSES
            else ""
        )
        return replace(_classes(raw, (name,)), note=note)
    note = (
        f"target {name!r} takes {format_count(len(values), 'different whole number')}: regression"
        if (values % 1 == 0).all()
        else ""
    )
    return replace(_numbers(raw, (name,)), note=note)


def _encode_several(raw: np.ndarray, names: tuple[str, ...]) -> Targets:
    if raw.dtype.kind not in "iufb":
        raise DataError(f"several targets ({', '.join(names)}) with strings: give numbers, or 0 and 1 for labels")
    if not np.isin(raw, (0, 1)).all():
        return replace(_numbers(raw, names), note=f"{raw.shape[1]} targets hold numbers: regression")
    if len(raw) and (raw.sum(axis=1) == 1).all():
        note = f"{raw.shape[1]} targets, of which exactly one is 1 in each row: classes (one-hot)"
        return replace(_one_hot(raw, names), note=note)
    return replace(_labels(raw, names), note=f"{raw.shape[1]} targets hold only 0 and 1: several labels a row")


def _one_hot(raw: np.ndarray, names: tuple[str, ...]) -> Targets:
    return Targets(raw.argmax(axis=1).astype(np.int64), "classification", _called(names, raw.shape[1]))


def _classes(raw: np.ndarray, names: tuple[str, ...], rows: np.ndarray | None = None) -> Targets:
    """Return one target as classes, in the order of their numbers where all are called by whole numbers."""
    if raw.ndim != 1:
        numbers = _as_numbers(raw, names, rows)
        if np.isin(numbers, (0, 1)).all() and (numbers.sum(axis=1) == 1).all():
            return _one_hot(numbers, names)
        raise DataError(f"{raw.shape[1]} targets ({', '.join(names[:3])}) and task='classification': name one")
    if raw.dtype.kind in "biu":
        different, codes = np.unique(raw, return_inverse=True)
    else:  # which tells texts apart without sorting them
        codes, different = told_apart(raw)
    called = np.array([_class_name(value) for value in different.tolist()], object)
    values, numbers = np.unique(called, return_inverse=True)
    numbers = numbers[codes]
    if all(WHOLE_NUMBER.fullmatch(text) for text in values):
        order = np.argsort(values.astype(np.int64), kind="stable")
        values, numbers = values[order], np.argsort(order)[numbers]
    return Targets(numbers.astype(np.int64), "classification", tuple(map(str, values)))


def _labels(raw: np.ndarray, names: tuple[str, ...], rows: np.ndarray | None = None) -> Targets:
    numbers = _as_numbers(raw, names, rows).reshape(len(raw), -1)
    if not np.isin(numbers, (0, 1)).all():
        row, column = np.argwhere(~np.isin(numbers, (0, 1)))[0]
        where = "" if rows is None else f" in row {rows[row]} (from 0)"
        raise DataError(f"a label is {numbers[row, column]:g}{where}, and task='multilabel' takes 0 and 1 alone")
    return Targets(numbers.astype(np.float32), "multilabel", _called(names, numbers.shape[1]))


def _numbers(raw: np.ndarray, names: tuple[str, ...], rows: np.ndarray | None = None) -> Targets:
    return Targets(_as_numbers(raw, names, rows).reshape(len(raw), -1), "regression", ())


def _called(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    return names if len(names) == count else tuple(str(place) for place in range(count))


TASKS = {"classification": _classes, "regression": _numbers, "multilabel": _labels}


def _as_numbers(raw: np.ndarray, names: tuple[str, ...], rows: np.ndarray | None) -> np.ndarray:
    try:
        return raw.astype(np.float64)
    except ValueError as error:
        flat = raw.reshape(len(raw), -1)
        row = next(i for i, cells in enumerate(flat) if not all(is_number(str(cell)) for cell in cells))
        bad = next(str(cell) for cell in flat[row] if not is_number(str(cell)))
        number = row if rows is None else rows[row]
        raise DataError(f"target {names[0]!r} holds {bad!r} in row {number} (from 0): expected a number") from error


def _class_name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if not isinstance(value, bytes):
        return composed(str(value))
    try:
        return composed(value.decode())
    except UnicodeDecodeError as error:
        raise DataError(f"a class is called {value!r}, which is no text in UTF-8: give its name as text") from error


def _spread(encoded: Targets, missing: np.ndarray) -> Targets:
    """Return targets of all rows, given those of rows with a label."""
    fill = -1 if encoded.task == "classification" else np.nan
    values = np.full((len(missing), *encoded.values.shape[1:]), fill, encoded.values.dtype)
    values[~missing] = encoded.values
    return replace(encoded, values=values)


def _unlabelled(raw: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Return which rows have no label, bool `(n,)`.

    Raises:
        DataError: a target is infinite, or some targets of a row are missing.
    """
    flat = raw.reshape(len(raw), -1)
    if raw.dtype.kind == "O":
        blank = [isinstance(value, str) and not value for value in flat.flat]
        missing = np.asarray(pd.isna(flat)) | np.array(blank, bool).reshape(flat.shape)
    elif raw.dtype.kind == "U":
        missing = flat == ""  # as an empty cell is
    elif raw.dtype.kind == "f":
        missing = np.isnan(flat)
        _refuse(np.isinf(flat), names, "is infinite")
    else:
        return np.zeros(len(raw), bool)
    whole = np.asarray(missing.all(1))
    _refuse(missing & ~whole[:, None], names, "is missing beside others")
    return whole


def _refuse(bad: np.ndarray, names: tuple[str, ...], what: str) -> None:
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        name = names[column] if column < len(names) else f"{names[0]}[{column}]"
        raise DataError(
            f"target {name!r} {what} in row {row} (from 0; {format_count(int(bad.sum()), 'such value')}): fill "
            "it in or remove the row"
        )

"""Targets: from whatever stands in a column or an array to class numbers, labels or numbers, and which task that is."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from reuse.errors import DataError

MOST_INTEGER_CLASSES = 100
FEW_CLASSES = 20


@dataclass(frozen=True)
class Targets:
    """Encoded targets.

    Attributes:
        values: int64 `(n,)` for classification, float32 `(n, labels)` for several labels, else float64 `(n, outputs)`.
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
    def fit(cls, values: np.ndarray) -> "TargetScale":
        """Return the scale of targets `(n, outputs)`; a constant is only moved to 0."""
        scaler = StandardScaler().fit(values)
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
    def from_dict(cls, values: dict[str, list[float]]) -> "TargetScale":
        """Return the scale that `to_dict` described."""
        return cls(tuple(map(float, values["mean"])), tuple(map(float, values["std"])))


def encode_targets(raw: np.ndarray, names: tuple[str, ...] = ("y",)) -> Targets:
    """Return targets encoded for the task that they imply.

    One target: strings, booleans and integers of at most 100 different values are classes, in sorted order; other
    numbers are regressed on. Several targets, whatever their type: where all are 0 or 1, they are classes if each row
    has exactly one 1 (one-hot), else labels; other numbers are regressed on.

    Args:
        raw: `(n,)` or `(n, targets)`; an object array of str or None, or numbers.
        names: what the targets are called, for messages and labels.

    Raises:
        DataError: a target is missing or infinite, or several targets hold strings.
    """
    raw = np.asarray(raw)
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim not in (1, 2):
        raise DataError(f"targets of shape {raw.shape}: expected (rows,) or (rows, targets)")
    _refuse_missing(raw, names)
    if raw.dtype.kind == "O":
        raw = np.array(raw.tolist())  # numbers that came as objects are numbers again
    return _encode_one(raw, names[0]) if raw.ndim == 1 else _encode_several(raw, names)


def _encode_one(raw: np.ndarray, name: str) -> Targets:
    if raw.dtype.kind in "OUSb":
        texts = raw.astype(str)
        values, numbers = np.unique(texts, return_inverse=True)
        return Targets(numbers.astype(np.int64), "classification", tuple(map(str, values)))
    values, numbers = np.unique(raw, return_inverse=True)
    if raw.dtype.kind in "iu" and len(values) <= MOST_INTEGER_CLASSES:
        note = (
            f"target {name!r} takes {len(values)} different integers: classification"
            if len(values) > FEW_CLASSES
            else ""
        )
        return Targets(numbers.astype(np.int64), "classification", tuple(map(str, values.tolist())), note)
    note = f"target {name!r} takes {len(values)} different whole numbers: regression" if (values % 1 == 0).all() else ""
    return Targets(raw.astype(np.float64)[:, None], "regression", (), note)


def _encode_several(raw: np.ndarray, names: tuple[str, ...]) -> Targets:
    if raw.dtype.kind not in "iufb":
        raise DataError(f"several targets ({', '.join(names)}) with strings: give numbers, or 0 and 1 for labels")
    labels = names if len(names) == raw.shape[1] else tuple(str(i) for i in range(raw.shape[1]))
    if not np.isin(raw, (0, 1)).all():
        return Targets(raw.astype(np.float64), "regression", (), f"{raw.shape[1]} targets hold numbers: regression")
    if len(raw) and (raw.sum(axis=1) == 1).all():
        note = f"{raw.shape[1]} targets, of which exactly one is 1 in each row: classes (one-hot)"
        return Targets(raw.argmax(axis=1).astype(np.int64), "classification", labels, note)
    note = f"{raw.shape[1]} targets hold only 0 and 1: several labels a row"
    return Targets(raw.astype(np.float32), "multilabel", labels, note)


def _refuse_missing(raw: np.ndarray, names: tuple[str, ...]) -> None:
    if raw.dtype.kind == "O":
        bad = np.array([[cell is None or cell != cell for cell in np.atleast_1d(row)] for row in raw], dtype=bool)
    elif raw.dtype.kind == "f":
        bad = ~np.isfinite(raw)
    else:
        return
    if bad.any():
        row = int(np.argwhere(bad.reshape(len(raw), -1))[0][0])
        column = int(np.argwhere(bad.reshape(len(raw), -1))[0][1])
        name = names[column] if column < len(names) else f"{names[0]}[{column}]"
        raise DataError(
            f"target {name!r} is missing or not finite in row {row} (from 0; {int(bad.sum())} such values): "
            "fill it in or remove the row"
        )

"""The rows that each head of a sweep learns from and is measured on: subsets of labels, and folds of these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.model_selection import KFold, StratifiedKFold
from torch import Tensor

from reuse.data.dataset import Dataset, Split
from reuse.data.inputs import Inputs, JoinedInputs
from reuse.errors import UsageError
from reuse.layout import Layout

Label = int | str | None
"""The number of labels: a number, `10/class`, or None for all."""


@dataclass(frozen=True)
class Division:
    """Training and validation rows of some heads.

    Attributes:
        labels: how many labels there are in all.
        fold: number of the fold that validates, from 1; None without folds.
        train: True for each of the pool's rows to learn from, `(rows,)` bool.
        valid: as `train`, the rows to choose by.
    """

    labels: Label
    fold: int | None
    train: Tensor
    valid: Tensor


class Chosen(Inputs):
    """Some samples of other inputs.

    Args:
        inputs: the others.
        rows: their positions, int64.
    """

    def __init__(self, inputs: Inputs, rows: np.ndarray) -> None:
        super().__init__(len(rows))
        self.inputs, self.rows = inputs, rows
        self.shape, self.dtype = inputs.shape, inputs.dtype

    @property
    def layout(self) -> Layout:
        """The tensors of one sample, those of the others."""
        return self.inputs.layout

    def _prepare(self, indices: np.ndarray) -> Tensor:
        return self._prepare_each(indices)[0]

    def _prepare_each(self, indices: np.ndarray) -> tuple[Tensor, ...]:
        return self.inputs.gather(torch.from_numpy(self.rows[indices]))

    def _digest(self) -> np.ndarray:
        digests: np.ndarray = self.inputs.digests()[self.rows]
        return digests

    def names(self) -> list[str] | None:
        """Return what each sample is called, or None where samples have no names."""
        names = self.inputs.names()
        return None if names is None else [names[row] for row in self.rows]


def divide(
    data: Dataset, rows: Mapping[Label, tuple[np.ndarray, np.ndarray]], folds: int, seed: int
) -> tuple[Dataset, list[Division]]:
    """Return the data set with all rows that any head needs as its training split, and the divisions of these.

    Args:
        data: all labelled rows.
        rows: for each number of labels the rows that train and those that validate, by their numbers in the data set.
        folds: into how many parts training and validation rows together are divided, each of which validates in turn;
            0: they stay as they are.
        seed: what folds are drawn with.

    Raises:
        UsageError: more folds than rows, or than rows of a class, or training rows of no weight.
    """
    every = np.concatenate([data.train.rows, data.valid.rows])
    needed = np.isin(every, np.concatenate([part for parts in rows.values() for part in parts]))
    pool = _with_pool(data, np.flatnonzero(needed))
    divisions = []
    for labels, (train, valid) in rows.items():
        if folds:
            divisions += _folds(pool, labels, np.concatenate([train, valid]), folds, seed)
        else:
            divisions.append(Division(labels, None, _marked(pool, train), _marked(pool, valid)))
    _refuse_weightless(pool, divisions)
    return pool, divisions


def _refuse_weightless(pool: Dataset, divisions: Sequence[Division]) -> None:
    """Raise where heads would learn from rows that all weigh nothing."""
    weights = pool.train.weights
    for division in divisions:
        if weights is not None and not weights[division.train].any():
            fold = "" if division.fold is None else f" beside fold {division.fold}"
            drawn = "" if division.labels is None else f" of labels={division.labels}"
            raise UsageError(
                f"the training rows{fold}{drawn} all have a sample_weight of 0: give "
                "another seed, more labels or fewer folds, or leave rows without weight out of the data"
            )


def _with_pool(data: Dataset, positions: np.ndarray) -> Dataset:
    inputs = JoinedInputs([data.train.inputs, data.valid.inputs])
    rows = np.concatenate([data.train.rows, data.valid.rows])
    targets, weights = (_joined(getattr(data.train, of), getattr(data.valid, of)) for of in ("targets", "weights"))

    def part(some: np.ndarray) -> Split:
        own = [None if values is None else values[torch.from_numpy(some)] for values in (targets, weights)]
        return Split(Chosen(inputs, some), own[0], rows[some], own[1])

    return replace(data, train=part(positions), valid=part(positions[:0]))


def _joined(train: Tensor | None, valid: Tensor | None) -> Tensor | None:
    return None if train is None or valid is None else torch.cat([train, valid])


def _folds(pool: Dataset, labels: Label, rows: np.ndarray, folds: int, seed: int) -> list[Division]:
    places = np.flatnonzero(np.isin(pool.train.rows, rows))
    is_classification = pool.task == "classification" and pool.train.targets is not None
    classes = pool.train.targets[torch.from_numpy(places)].numpy() if is_classification else None  # type: ignore[index]
    smallest = len(places) if classes is None else int(np.unique(classes, return_counts=True)[1].min())
    if not 2 <= folds <= smallest:
        what = "rows" if classes is None else "rows of the smallest class"
        raise UsageError(f"folds is {folds}, and there are {smallest} {what}: give 2 folds or more, up to that many")
    splitter = (KFold if classes is None else StratifiedKFold)(folds, shuffle=True, random_state=seed % 2**32)
    parts: Sequence[tuple[np.ndarray, np.ndarray]] = list(splitter.split(places, classes))
    own = pool.train.rows[places]
    return [
        Division(labels, number, _marked(pool, own[train]), _marked(pool, own[valid]))
        for number, (train, valid) in enumerate(parts, 1)
    ]


def _marked(pool: Dataset, rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.isin(pool.train.rows, rows))

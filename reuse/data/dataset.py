"""A data set that is split: every training, cache and report starts from one."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.data.targets import TargetScale
from reuse.devices import Compute
from reuse.units import format_count

SPLITS = ("train", "valid", "test")
LISTED_CLASSES = 20  # how many a summary names


@dataclass(frozen=True)
class Split:
    """Some rows of a data set.

    Attributes:
        inputs: the preprocessed samples.
        targets: int64 `(n,)` class numbers; float32 `(n, labels)` of 0 and 1; float64 `(n, outputs)` in their own
            units; or None.
        rows: int64 `(n,)`, the rows' numbers in the data set, from 0.
        weights: float64 `(n,)`, how much each row counts in the loss, 1 at most in the training split of `reuse.load`;
            None: all alike.
    """

    inputs: Inputs
    targets: Tensor | None
    rows: np.ndarray
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test rows of one data set, preprocessed alike.

    Attributes:
        name: as the user gave it.
        train: the rows to train on.
        valid: the rows that choose epochs and settings; may be empty (one label a class leaves none over).
        test: the rows that are only reported on.
        task: "classification", "multilabel", "regression" or "unlabelled".
        classes: names of the classes or labels, in the order of the outputs; empty for the other tasks.
        preprocessing: steps from raw samples to inputs.
        notes: lines worth printing, on values imputed, rows set aside, choices assumed.
        target_scale: of numbers: in which they are learned; None: as they are.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    task: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    notes: tuple[str, ...] = ()
    target_scale: TargetScale | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one preprocessed sample."""
        return self.train.inputs.shape

    @property
    def num_tokens(self) -> int | None:
        """The number of different tokens that inputs are made of, padding among them; None where they are no tokens."""
        return self.preprocessing.num_tokens

    @property
    def num_outputs(self) -> int:
        """The number of outputs of a model of this task: classes, labels or numbers; 0 without targets."""
        if self.train.targets is None:
            return 0
        return len(self.classes) if self.task == "classification" else self.train.targets.shape[1]

    @property
    def summary(self) -> str:
        """What is learned from which rows, in one line: the classes with their rows, and the rows of each split."""
        rows = ", ".join(f"{count:,} {name}" for name, count in self.sizes.items())
        return f"{self.name}: {self._contents()}; rows: {rows}"

    def _contents(self) -> str:
        if self.train.targets is None:
            return "no labels"
        if self.task == "regression":
            return "numbers" if self.num_outputs == 1 else f"{self.num_outputs} numbers a row"
        kind = "class" if self.task == "classification" else "label"
        counts = torch.stack([self._count(getattr(self, name)) for name in SPLITS]).sum(0)
        listed = [f"{name} {count:,}" for name, count in zip(self.classes, counts.tolist(), strict=True)]
        more = ["…"] if len(listed) > LISTED_CLASSES else []
        return f"{format_count(len(listed), kind)} ({', '.join([*listed[:LISTED_CLASSES], *more])})"

    def _count(self, split: Split) -> Tensor:
        """Return how many rows of a split each class or label has."""
        assert split.targets is not None
        if self.task == "classification":
            return split.targets.bincount(minlength=len(self.classes))
        return (split.targets > 0).sum(0)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of rows of each split."""
        return {name: len(getattr(self, name)) for name in SPLITS}


def learned_targets(data: Dataset, split: Split, compute: Compute) -> Tensor | None:
    """Return the targets of a split as they are learned: numbers in the standard scale, in a computation's type.

    Where rows have weights these are one column more; class numbers become numbers for it.
    """
    targets = split.targets
    if targets is None:
        return None
    if targets.is_floating_point():
        targets = (data.target_scale.standardised(targets) if data.target_scale else targets).to(compute.dtype)
    if split.weights is None:
        return targets
    columns = (targets[:, None] if targets.ndim == 1 else targets).to(compute.dtype)
    return torch.cat([columns, split.weights.to(compute.dtype)[:, None]], dim=1)

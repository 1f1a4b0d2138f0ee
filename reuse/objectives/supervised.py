"""Learning from labels: classes, several labels a row, numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from reuse.errors import UsageError
from reuse.lookup import lookup
from reuse.objectives.counting import accuracy, confusion, macro_f1
from reuse.objectives.objective import Batch, Network, Objective, add_up, count_rows, labels_of


@dataclass(frozen=True)
class Classification:
    """Cross-entropy between logits `(batch, classes)` and class numbers `(batch,)`.

    Attributes:
        num_classes: how many classes there are, at least two.
        label_smoothing: share of each label spread over all classes, in [0, 1) (Szegedy et al. 2016,
            https://arxiv.org/abs/1512.00567). It belongs to training: metrics are measured without it.
    """

    num_classes: int
    label_smoothing: float = 0.0
    monitor: ClassVar[str] = "loss"

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise UsageError(f"classification needs at least 2 classes, and there are {self.num_classes}")
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label smoothing is {self.label_smoothing}: give a share from 0 up to, not including, 1")

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean cross-entropy, smoothed."""
        logits = network(*batch.inputs)
        return {"loss": functional.cross_entropy(logits, labels_of(batch), label_smoothing=self.label_smoothing)}

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the summed cross-entropy and the confusion matrix."""
        logits, labels = network(*batch.inputs), labels_of(batch)
        return {
            "rows": count_rows(batch),
            "loss": add_up(functional.cross_entropy(logits, labels, reduction="none")),
            "confusion": confusion(logits.argmax(1), labels, self.num_classes),
        }

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return `loss`, `accuracy` and `macro_f1`."""
        counts = tally["confusion"]
        return {
            "loss": float(tally["loss"] / tally["rows"]),
            "accuracy": accuracy(counts),
            "macro_f1": macro_f1(counts.diagonal(), counts.sum(0), counts.sum(1)),
        }


@dataclass(frozen=True)
class MultiLabel:
    """Binary cross-entropy between logits `(batch, labels)` and zeros and ones of that shape."""

    monitor: ClassVar[str] = "loss"

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean binary cross-entropy over rows and labels."""
        logits = network(*batch.inputs)
        return {"loss": functional.binary_cross_entropy_with_logits(logits, labels_of(batch).to(logits.dtype))}

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the summed loss and, for each label, the rows that have it, were given it, and both."""
        logits = network(*batch.inputs)
        targets = labels_of(batch).to(logits.dtype)
        losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        given, has = logits > 0, targets > 0
        return {
            "rows": count_rows(batch),
            "loss": add_up(losses.mean(1)),
            "right": (given == has).sum(0),
            "true_positives": (given & has).sum(0),
            "given": given.sum(0),
            "labelled": has.sum(0),
        }

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return `loss`, `accuracy` (the mean over labels) and `macro_f1` (over labels that occur)."""
        return {
            "loss": float(tally["loss"] / tally["rows"]),
            "accuracy": float((tally["right"] / tally["rows"]).mean()),
            "macro_f1": macro_f1(tally["true_positives"], tally["given"], tally["labelled"]),
        }


@dataclass(frozen=True)
class Regression:
    """Mean squared error between outputs `(batch, outputs)` and numbers `(batch, outputs)`, or `(batch,)` for one."""

    monitor: ClassVar[str] = "loss"

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error over rows and outputs."""
        outputs = network(*batch.inputs)
        return {"loss": functional.mse_loss(outputs, _shaped_like(outputs, labels_of(batch)))}

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return, for each output, the sums of squared errors, of targets and of squared targets."""
        outputs = network(*batch.inputs)
        targets = _shaped_like(outputs, labels_of(batch))
        return {
            "rows": count_rows(batch),
            "squared_errors": add_up((outputs - targets).square(), 0),
            "targets": add_up(targets, 0),
            "squared_targets": add_up(targets.to(torch.promote_types(targets.dtype, torch.float32)).square(), 0),
        }

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return `loss` and `mse` (the same) and `r2`, the mean over outputs of the share of variance explained."""
        mse = float((tally["squared_errors"] / tally["rows"]).mean())
        return {"loss": mse, "mse": mse, "r2": _explained_variance(tally)}


TASKS: dict[str, Callable[[int], Objective]] = {
    "classification": lambda num_outputs: Classification(num_outputs),
    "multilabel": lambda _: MultiLabel(),
    "regression": lambda _: Regression(),
}


def supervised(task: str, num_outputs: int, *, label_smoothing: float = 0.0) -> Objective:
    """Return the objective of a task.

    Args:
        task: "classification", "multilabel" or "regression", as `reuse.data` names them.
        num_outputs: classes, labels or numbers a row.
        label_smoothing: for classification only.

    Raises:
        UsageError: the task is not one of these, or it is not classification and smoothing is asked for.

    Example:
        >>> supervised("classification", 10).monitor
        'loss'
    """
    make = lookup(TASKS, task, "supervised task")
    if label_smoothing == 0.0:
        return make(num_outputs)
    if task != "classification":
        raise UsageError(f"label smoothing is for classification, and the task is {task}: leave it out")
    return Classification(num_outputs, label_smoothing)


def _shaped_like(outputs: Tensor, targets: Tensor) -> Tensor:
    """Give targets `(batch,)` the shape `(batch, 1)` of the outputs; torch would broadcast them to a square."""
    if targets.shape == outputs.shape:
        return targets
    if targets.numel() != outputs.numel():
        raise UsageError(
            f"the network gives {tuple(outputs.shape)} and the targets are {tuple(targets.shape)}: "
            "give it as many outputs as there are numbers in a target"
        )
    return targets.reshape(outputs.shape)


def _explained_variance(tally: dict[str, Tensor]) -> float:
    """Return R² over outputs; a constant target counts 1 where it was met exactly and 0 otherwise, as scikit-learn."""
    errors, squares = tally["squared_errors"], tally["squared_targets"]
    spread = squares - tally["targets"].square() / tally["rows"]
    varies = spread > 1e-14 * squares  # what rounding leaves of a constant is not variance
    constant = (errors == 0).to(errors.dtype)
    return float(torch.where(varies, 1 - errors / torch.where(varies, spread, 1.0), constant).mean())

"""Learning from labels: classes, several labels a row, numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from reuse.data.rows import Batch
from reuse.data.targets import TargetScale
from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.nn.main_output import main_output
from reuse.objectives.counting import accuracy, class_counts, macro_f1
from reuse.objectives.objective import Network, Objective, add_up, count_rows, labels_of
from reuse.objectives.weighting import check_class_weights, placed_weights

Weights = tuple[float, ...] | None
"""The weight of each class, in the order of the outputs; None: all alike."""


@dataclass(frozen=True)
class Classification(Objective):
    """Cross-entropy between logits `(batch, classes)` and class numbers `(batch,)`, or shares `(batch, classes)`.

    With class weights w the loss of a batch is the sum over rows and classes of -w · share · log(probability), divided
    by the sum of w · share: the weighted mean over rows, as torch's `cross_entropy` has it for class numbers, and the
    same for shares (where torch divides by the rows). Keras divides by the rows.

    Attributes:
        num_classes: how many classes there are, at least two.
        label_smoothing: share of each label spread over all classes, in [0, 1) (Szegedy et al. 2016,
            https://arxiv.org/abs/1512.00567). It belongs to training: metrics are measured without it.
        class_weights: how much each class counts, above 0; None: all alike. They belong to training too.
    """

    num_classes: int
    label_smoothing: float = 0.0
    class_weights: Weights = None
    needs_labels: ClassVar[bool] = True
    _placed: dict[tuple[torch.device, torch.dtype], Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        check_class_weights(self.class_weights, self.num_classes)
        if self.num_classes < 2:
            raise UsageError(f"classification needs at least 2 classes, and there are {self.num_classes}")
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label smoothing is {self.label_smoothing}: give a share from 0 up to, not including, 1")

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean cross-entropy, smoothed and weighted."""
        logits, targets = main_output(network(*batch.inputs)), labels_of(batch)
        if self.class_weights is None:
            return {"loss": functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)}
        weights = placed_weights(self.class_weights, logits.device, logits.dtype, self._placed)
        reduction = "sum" if targets.is_floating_point() else "mean"
        loss = functional.cross_entropy(logits, targets, weights, None, -100, None, reduction, self.label_smoothing)
        return {"loss": loss / self.weights_of(targets, weights.dtype).sum() if reduction == "sum" else loss}

    def divisors(self, batch: Batch) -> dict[str, Tensor]:
        """Return the sum of the weights of the rows, where classes have weights."""
        if self.class_weights is None:
            return {}
        return {"loss": self.weights_of(labels_of(batch), count_rows(batch).dtype).sum()}

    def weights_of(self, labels: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the weight of the class of each row, `(batch,)`, where classes have weights.

        Args:
            labels: class numbers `(batch,)`, or shares `(batch, classes)`.
            dtype: in which weights are told; those of shares are of their own.
        """
        assert self.class_weights is not None
        weights = placed_weights(self.class_weights, labels.device, dtype, self._placed)
        return labels @ weights.to(labels.dtype) if labels.is_floating_point() else weights[labels]

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the summed cross-entropy and the counts of each class."""
        logits, labels = main_output(network(*batch.inputs)), labels_of(batch)
        return {
            "rows": count_rows(batch),
            "loss": add_up(functional.cross_entropy(logits, labels, reduction="none")),
            "counts": class_counts(logits.argmax(1), labels, self.num_classes),
        }

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return `loss`, `accuracy` and `macro_f1`."""
        right, predicted, labelled = tally["counts"]
        return {
            "loss": float(tally["loss"] / tally["rows"]),
            "accuracy": accuracy(right, labelled),
            "macro_f1": macro_f1(right, predicted, labelled),
        }

    def failure(self, tally: dict[str, Tensor]) -> str:
        """Return so where all rows are taken for one class, though there are several."""
        _, predicted, labelled = tally["counts"]
        if (labelled > 0).sum() > 1 and (predicted > 0).sum() == 1:
            return "all training rows are taken for one class"
        return super().failure(tally)


@dataclass(frozen=True)
class MultiLabel(Objective):
    """Binary cross-entropy between logits `(batch, labels)` and zeros and ones of that shape.

    Attributes:
        class_weights: how much more a row counts that has a label than one that has not, for each label (torch's
            `pos_weight`); None: alike. They belong to training: metrics are measured without them.
    """

    class_weights: Weights = None
    needs_labels: ClassVar[bool] = True
    _placed: dict[tuple[torch.device, torch.dtype], Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        check_class_weights(self.class_weights, None)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean binary cross-entropy over rows and labels, weighted."""
        logits = main_output(network(*batch.inputs))
        targets = labels_of(batch).to(logits.dtype)
        weights = (
            None
            if self.class_weights is None
            else placed_weights(self.class_weights, logits.device, logits.dtype, self._placed)
        )
        return {"loss": functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)}

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the summed loss and, for each label, the rows that have it, were given it, and both."""
        logits = main_output(network(*batch.inputs))
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

    def failure(self, tally: dict[str, Tensor]) -> str:
        """Return so where each label is given to all training rows or to none, though they differ."""
        rows, given, labelled = tally["rows"], tally["given"], tally["labelled"]
        differing = ((labelled > 0) & (labelled < rows)).any()
        if differing and ((given == 0) | (given == rows)).all():
            return "all training rows are given the same labels"
        return super().failure(tally)


@dataclass(frozen=True)
class Regression(Objective):
    """Mean squared error between outputs `(batch, outputs)` and numbers `(batch, outputs)`, or `(batch,)` for one.

    Attributes:
        scale: in which outputs and targets are given, so that `mse` is told in the targets' own units; None: their own.
    """

    scale: TargetScale | None = None
    needs_labels: ClassVar[bool] = True

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error over rows and outputs."""
        outputs = main_output(network(*batch.inputs))
        return {"loss": functional.mse_loss(outputs, _shaped_like(outputs, labels_of(batch)).to(outputs.dtype))}

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return, for each output, the sums of squared errors, of targets and of squared targets.

        Squares are of float64: those of 311,030 and 311,037 are one number in float32.
        """
        rows, outputs = count_rows(batch), main_output(network(*batch.inputs))
        targets = _shaped_like(outputs, labels_of(batch)).to(rows.dtype)
        return {
            "rows": rows,
            "squared_errors": (outputs.to(rows.dtype) - targets).square().sum(0),
            "targets": targets.sum(0),
            "squared_targets": targets.square().sum(0),
        }

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return `loss`, what is minimised, `mse`, the same in the targets' own units, and `r2`.

        `r2` is the mean over outputs of the share of variance explained, which no scale changes.
        """
        errors = tally["squared_errors"] / tally["rows"]
        units = errors.new_tensor(self.scale.std).square() if self.scale else 1.0
        return {"loss": float(errors.mean()), "mse": float((errors * units).mean()), "r2": _explained_variance(tally)}

    def failure(self, tally: dict[str, Tensor]) -> str:
        """Return so where the mean of the targets is a better prediction."""
        explained = _explained_variance(tally)
        if explained < 0:
            return f"on the training rows the mean of the targets is a better prediction (r2 is {explained:.3g})"
        return super().failure(tally)


def supervised(
    task: str,
    num_outputs: int,
    *,
    label_smoothing: float = 0.0,
    class_weights: Weights = None,
    scale: TargetScale | None = None,
) -> Objective:
    """Return the objective of a task.

    Args:
        task: "classification", "multilabel" or "regression", as `reuse.data` names them.
        num_outputs: classes, labels or numbers a row.
        label_smoothing: for classification only.
        class_weights: one a class or label, as `reuse.objectives.weighting` gives them; not for regression.
        scale: in which numbers are given; None: their own.

    Raises:
        UsageError: the task is not one of these, or smoothing or weights are asked for where there are none.

    Example:
        >>> supervised("classification", 10).monitor
        'loss'
    """
    objective = lookup(TASKS, task, "supervised task")(num_outputs, label_smoothing, class_weights)
    return replace(objective, scale=scale) if isinstance(objective, Regression) else objective


def _several_labels(_: int, label_smoothing: float, class_weights: Weights) -> MultiLabel:
    _refuse_smoothing(label_smoothing, "multilabel")
    return MultiLabel(class_weights)


def _numbers(_: int, label_smoothing: float, class_weights: Weights) -> Regression:
    _refuse_smoothing(label_smoothing, "regression")
    if class_weights is not None:
        raise UsageError("class weights are for classes and labels, and the task is regression: leave them out")
    return Regression()


def _refuse_smoothing(label_smoothing: float, task: str) -> None:
    if label_smoothing != 0.0:
        raise UsageError(f"label smoothing is for classification, and the task is {task}: leave it out")


TASKS: dict[str, Callable[[int, float, Weights], Objective]] = {
    "classification": Classification,
    "multilabel": _several_labels,
    "regression": _numbers,
}


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

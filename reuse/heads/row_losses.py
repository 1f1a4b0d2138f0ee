"""The loss of each row of each of many heads, and its gradient in closed form.

Outputs lie as `(heads, outputs, rows)`, rows last: a softmax over ten classes that lie side by side takes twenty times
as long on a CPU as one over ten whole rows of numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from reuse.errors import UsageError
from reuse.objectives.objective import Objective
from reuse.objectives.sample_weights import Weighted
from reuse.objectives.supervised import Classification, MultiLabel, Regression


class RowLoss(Protocol):
    """The loss of rows; an objective's loss of a batch is its mean over rows, weighted where there are weights."""

    def wanted(self, targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Return what rows should give as numbers `(rows, outputs)`, and their weights in a mean, `(rows,)` or None."""
        ...

    def gradient(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Return the derivative of each row's loss by its outputs `(heads, outputs, rows)`, a tensor of its own.

        Args:
            outputs: as the derivative.
            wanted: `(outputs, rows)`.
        """
        ...

    def measure(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses, without smoothing and class weights, and shares of right answers, both `(heads, rows)`.

        Args:
            outputs: `(heads, outputs, rows)`.
            targets: `(rows, ...)`; where they are numbers the shares are NaN.
        """
        ...


@dataclass(frozen=True)
class _CrossEntropy:
    """-Σ q_c log p_c with the shares q smoothed and weighted; its derivative is p Σ q - q."""

    objective: Classification

    def wanted(self, targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        smoothing, classes = self.objective.label_smoothing, self.objective.num_classes
        shares = functional.one_hot(targets, classes).to(dtype) * (1 - smoothing) + smoothing / classes
        if self.objective.class_weights is None:
            return shares, None
        weights = shares.new_tensor(self.objective.class_weights)
        return shares * weights, weights[targets]

    def gradient(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        probabilities = outputs.softmax(1)
        if self.objective.class_weights is not None:  # otherwise the shares of a row sum to 1
            probabilities.mul_(wanted.sum(0))
        return probabilities.sub_(wanted)

    def measure(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        labels = targets.expand(len(outputs), -1)
        losses = functional.cross_entropy(outputs, labels, reduction="none")
        return losses, (outputs.argmax(1) == labels).to(outputs.dtype)


@dataclass(frozen=True)
class _BinaryCrossEntropy:
    """The mean over labels of -w y log σ - (1 - y) log(1 - σ), w being how much more a row counts that has a label."""

    objective: MultiLabel

    def wanted(self, targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, None]:
        return targets.to(dtype), None

    def gradient(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        weights = self.objective.class_weights
        has = wanted if weights is None else wanted * outputs.new_tensor(weights).unsqueeze(1)
        return outputs.sigmoid().mul_(has + 1 - wanted).sub_(has).div_(outputs.shape[1])

    def measure(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        wanted = targets.t().to(outputs.dtype).expand_as(outputs)
        losses = functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
        return losses.mean(1), ((outputs > 0) == (wanted > 0)).to(outputs.dtype).mean(1)


@dataclass(frozen=True)
class _SquaredError:
    """The mean over outputs of (output - target)²."""

    objective: Regression

    def wanted(self, targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, None]:
        return targets.to(dtype).reshape(len(targets), -1), None

    def gradient(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        return (outputs - wanted).mul_(2 / outputs.shape[1])

    def measure(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        losses = (outputs - self.wanted(targets, outputs.dtype)[0].t()).square().mean(1)
        return losses, torch.full_like(losses, torch.nan)


@dataclass(frozen=True)
class _WeightedRows:
    """The loss of another objective, times a weight of the row's own, which is the last of what a row should give."""

    objective: Weighted

    @property
    def inner(self) -> RowLoss:
        return row_loss(self.objective.objective)

    def wanted(self, targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        plain, weights = self.objective.unpacked(targets)
        wanted, more = self.inner.wanted(plain, dtype)
        weights = weights.to(dtype)
        return torch.cat([wanted, weights[:, None]], 1), weights if more is None else weights * more

    def gradient(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        return self.inner.gradient(outputs, wanted[:-1]).mul_(wanted[-1])

    def measure(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.measure(outputs, self.objective.unpacked(targets)[0])


ROW_LOSSES: dict[type, Callable[[Any], RowLoss]] = {
    Classification: _CrossEntropy,
    MultiLabel: _BinaryCrossEntropy,
    Regression: _SquaredError,
    Weighted: _WeightedRows,
}


def row_loss(objective: Objective) -> RowLoss:
    """Return the loss by rows of a supervised objective.

    Raises:
        UsageError: the objective is none of `ROW_LOSSES`, so the loss of a row is not known.
    """
    if type(objective) not in ROW_LOSSES:
        known = ", ".join(kind.__name__ for kind in ROW_LOSSES)
        raise UsageError(
            f"many heads cannot be trained on a {type(objective).__name__}, whose loss of one row is not known: "
            f"choose one of {known}"
        )
    return ROW_LOSSES[type(objective)](objective)

"""What each row costs each of many heads, and the gradient of that, in closed form.

Outputs lie as `(heads, outputs, rows)`, rows last: a softmax over ten classes that lie side by side takes twenty times
as long on a CPU as one over ten whole rows of numbers.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from reuse.errors import UsageError
from reuse.objectives.objective import Objective
from reuse.objectives.supervised import Classification, MultiLabel, Regression


class RowLoss(Protocol):
    """The loss of rows; an objective's loss of a batch is its mean over rows, weighted where `weights` are given."""

    def wanted(self, targets: Tensor, dtype: torch.dtype) -> Tensor:
        """Return what the rows should give as numbers `(rows, outputs)`."""
        ...

    def weights(self, targets: Tensor, dtype: torch.dtype) -> Tensor | None:
        """Return by what the rows count in the denominator of the mean, `(rows,)`; None: all by 1."""
        ...

    def values(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Return the losses `(heads, rows)` of outputs `(heads, outputs, rows)`, `wanted` being `(outputs, rows)`."""
        ...

    def right(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Return the share of right answers of each row, `(heads, rows)`; NaN where answers are numbers."""
        ...

    def gradient(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Return the derivative of each row's loss by its outputs, `(heads, outputs, rows)`, a tensor of its own."""
        ...


class _CrossEntropy:
    """-Σ q_c log p_c with the shares q smoothed and weighted; its derivative is p Σ q - q."""

    def __init__(self, objective: Classification) -> None:
        self.num_classes, self.smoothing = objective.num_classes, objective.label_smoothing
        self.class_weights = objective.class_weights

    def wanted(self, targets: Tensor, dtype: torch.dtype) -> Tensor:
        shares = functional.one_hot(targets, self.num_classes).to(dtype)
        shares = shares * (1 - self.smoothing) + self.smoothing / self.num_classes
        return shares if self.class_weights is None else shares * shares.new_tensor(self.class_weights)

    def weights(self, targets: Tensor, dtype: torch.dtype) -> Tensor | None:
        if self.class_weights is None:
            return None
        return torch.tensor(self.class_weights, dtype=dtype, device=targets.device)[targets]

    def values(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        return -(outputs.log_softmax(1) * wanted).sum(1)

    def right(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        return (outputs.argmax(1) == wanted.argmax(0)).to(outputs.dtype)

    def gradient(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        probabilities = outputs.softmax(1)
        if self.class_weights is not None:  # otherwise the shares of a row sum to 1
            probabilities.mul_(wanted.sum(0))
        return probabilities.sub_(wanted)


class _BinaryCrossEntropy:
    """The mean over labels of -w y log σ - (1 - y) log(1 - σ), w being how much more a row counts that has a label."""

    def __init__(self, objective: MultiLabel) -> None:
        self.class_weights = objective.class_weights

    def wanted(self, targets: Tensor, dtype: torch.dtype) -> Tensor:
        return targets.to(dtype)

    def weights(self, targets: Tensor, dtype: torch.dtype) -> Tensor | None:  # noqa: ARG002
        return None

    def values(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        weights = self._weights(outputs)
        losses = functional.binary_cross_entropy_with_logits(
            outputs, wanted.expand_as(outputs), reduction="none", pos_weight=weights
        )
        return losses.mean(1)

    def right(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        return ((outputs > 0) == (wanted > 0)).to(outputs.dtype).mean(1)

    def gradient(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        weights = self._weights(outputs)
        has = wanted if weights is None else wanted * weights
        return outputs.sigmoid().mul_(has + 1 - wanted).sub_(has).div_(outputs.shape[1])

    def _weights(self, outputs: Tensor) -> Tensor | None:
        return None if self.class_weights is None else outputs.new_tensor(self.class_weights).unsqueeze(1)


class _SquaredError:
    """The mean over outputs of (output - target)²."""

    def __init__(self, objective: Regression) -> None:
        pass

    def wanted(self, targets: Tensor, dtype: torch.dtype) -> Tensor:
        return targets.to(dtype).reshape(len(targets), -1)

    def weights(self, targets: Tensor, dtype: torch.dtype) -> Tensor | None:  # noqa: ARG002
        return None

    def values(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        return (outputs - wanted).square().mean(1)

    def right(self, outputs: Tensor, wanted: Tensor) -> Tensor:  # noqa: ARG002
        return outputs.new_full((outputs.shape[0], outputs.shape[2]), torch.nan)

    def gradient(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        return (outputs - wanted).mul_(2 / outputs.shape[1])


ROW_LOSSES: dict[type, Callable[[Any], RowLoss]] = {
    Classification: _CrossEntropy,
    MultiLabel: _BinaryCrossEntropy,
    Regression: _SquaredError,
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


def measured(objective: Objective) -> Objective:
    """Return the objective by which networks are measured: without smoothing and weights, which are for training."""
    if isinstance(objective, Classification):
        return Classification(objective.num_classes)
    return MultiLabel() if isinstance(objective, MultiLabel) else objective

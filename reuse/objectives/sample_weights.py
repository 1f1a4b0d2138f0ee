"""Weights of rows: a supervised loss in which rows count as much as the user says."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.objective import Network, Objective, divisor_of, labels_of
from reuse.objectives.supervised import Classification, MultiLabel, Regression


@dataclass(frozen=True)
class Weighted(Objective):
    """The weighted mean of the losses of rows: the sum of weight · loss, divided by the sum of the weights.

    Weights of rows and of classes are multiplied. They belong to training: metrics are measured without them.

    Attributes:
        objective: a supervised one. Targets are its own, with one column more: the weight of the row. Of classes they
            are numbers, or shares `(batch, classes)` where rows are mixed.
    """

    objective: Classification | MultiLabel | Regression
    needs_labels: ClassVar[bool] = True

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted mean loss."""
        plain, weights = self.parted(batch)
        outputs, labels = network(*plain.inputs), labels_of(plain)
        losses = self._of_rows(outputs, labels) * weights
        return {"loss": losses.sum() / divisor_of(self._weight(labels, weights))}

    def divisors(self, batch: Batch) -> dict[str, Tensor]:
        """Return the sum of the weights."""
        plain, weights = self.parted(batch)
        return {"loss": self._weight(labels_of(plain), weights)}

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the sums of the objective, in which all rows count alike."""
        return self.objective.tally(network, self.parted(batch)[0])

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return the metrics of the objective."""
        return self.objective.metrics(tally)

    def failure(self, tally: dict[str, Tensor]) -> str:
        """Return what the objective says."""
        return self.objective.failure(tally)

    def parted(self, batch: Batch) -> tuple[Batch, Tensor]:
        """Return a batch as the objective takes it, and the weights of its rows, `(batch,)`."""
        targets, weights = self.unpacked(labels_of(batch))
        return Batch(batch.inputs, targets), weights

    def unpacked(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the targets that the objective takes, and the weights of rows, `(rows,)`."""
        # Two columns are a number and a weight, as shares of mixed classes take two columns at least.
        are_numbers = isinstance(self.objective, Classification) and targets.shape[1] == 2
        return targets[:, 0].long() if are_numbers else targets[:, :-1], targets[:, -1]

    def _weight(self, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the sum of the weights of rows, each times the weight of its class."""
        if isinstance(self.objective, Classification) and self.objective.class_weights is not None:
            weights = weights * self.objective.weights_of(labels, weights.dtype)
        return weights.sum()

    def _of_rows(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row, times the weight of its class."""
        own = self.objective
        weights = None if isinstance(own, Regression) or own.class_weights is None else own.class_weights
        placed = None if weights is None else outputs.new_tensor(weights)
        if isinstance(own, Classification):
            smoothing = own.label_smoothing
            return functional.cross_entropy(outputs, labels, placed, reduction="none", label_smoothing=smoothing)
        labels = labels.to(outputs.dtype)
        if isinstance(own, MultiLabel):
            losses = functional.binary_cross_entropy_with_logits(outputs, labels, pos_weight=placed, reduction="none")
            return losses.mean(1)
        return (outputs - labels).square().mean(1)


def weighted(objective: Objective) -> Weighted:
    """Return a supervised objective with weights of rows.

    Raises:
        UsageError: the objective is none of those whose loss of a row is known.
    """
    if not isinstance(objective, Classification | MultiLabel | Regression):
        raise UsageError(f"sample_weight is for labels, and {type(objective).__name__} takes none: leave it out")
    return Weighted(objective)

"""Variance, invariance, covariance: Bardes et al. 2022, https://arxiv.org/abs/2105.04906."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import mse_loss, relu

from reuse.augmenting.contrasting import Views
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.objective import Network, Objective
from reuse.objectives.view_pairs import build_view_pair

ALMOST = 1e-4  # the paper's ε, within the root of a variance


@dataclass(frozen=True)
class VicReg(Objective):
    """λ s(Z, Z') + μ (v(Z) + v(Z')) / 2 + ν (c(Z) + c(Z')): alike in both views, spread out, and not redundant.

    s is the mean squared difference of the projections, over rows and numbers, v what each number lacks of a deviation
    of 1 over the batch, c the squared covariances of different numbers. The formulas are those of the authors' own
    code, for which their weights were chosen: the paper's sums the differences over the numbers, so that λ would grow
    with their size, and adds up v of both views.

    Attributes:
        views: changes that make a view, such as `crop:0.3/mirror`; none: what suits the data.
        invariance: λ.
        variance: μ.
        covariance: ν.
        hidden: units of the hidden layers of the projector.
        size: of a projection.
    """

    views: Views = None
    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    hidden: int = 256
    size: int = 128
    least_rows: ClassVar[int] = 2
    whole_batches: ClassVar[bool] = True
    summary: ClassVar[str] = "give two views of a row the same numbers, each spread out and none like another"
    paper: ClassVar[str] = "Bardes et al. 2022, https://arxiv.org/abs/2105.04906"

    def __post_init__(self) -> None:
        weights = (self.invariance, self.variance, self.covariance)
        if not all(0 <= weight < math.inf for weight in weights):
            raise UsageError(f"the weights of invariance, variance and covariance are {weights}: give 0 or more of all")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, with a projector behind it."""
        return build_view_pair(model, data, self.views, hidden=self.hidden, size=self.size, layers=3)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the three terms, weighted."""
        first, second = network(batch.inputs[0])
        return {
            "invariance": self.invariance * mse_loss(first, second),
            "variance": self.variance * (lack_of_variance(first) + lack_of_variance(second)) / 2,
            "covariance": self.covariance * (redundancy(first) + redundancy(second)),
        }


def lack_of_variance(values: Tensor) -> Tensor:
    """Return max(0, 1 - deviation over the batch), a mean over the numbers of `(batch, size)`."""
    return relu(1 - (_covariances(values).diagonal() + ALMOST).sqrt()).mean()


def redundancy(values: Tensor) -> Tensor:
    """Return the squared covariances of different numbers, summed and divided by how many numbers there are."""
    covariances = _covariances(values)
    return (covariances.square().sum() - covariances.diagonal().square().sum()) / values.shape[1]


def _covariances(values: Tensor) -> Tensor:
    """Return the unbiased covariances, `(size, size)`; 0 of a single row, which tells none."""
    centred = values - values.mean(0)
    return centred.T @ centred / max(1, len(values) - 1)

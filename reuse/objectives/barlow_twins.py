"""Barlow Twins, redundancy reduced: Zbontar et al. 2021, https://arxiv.org/abs/2103.03230."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from reuse.augmenting.contrasting import Views
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.objective import Network, Objective
from reuse.objectives.view_pairs import build_view_pair

ALMOST = 1e-8  # added to variances: one of 0 has no root with a gradient


@dataclass(frozen=True)
class BarlowTwins(Objective):
    """Σᵢ (1 - Cᵢᵢ)² + λ Σᵢ Σⱼ≠ᵢ Cᵢⱼ², where C holds the correlations of two views' projections over the batch.

    Attributes:
        views: changes that make a view, such as `crop:0.3/mirror`; none: what suits the data.
        redundancy: λ.
        hidden: units of the hidden layers of the projector.
        size: of a projection.
    """

    views: Views = None
    redundancy: float = 0.005
    hidden: int = 256
    size: int = 128
    least_rows: ClassVar[int] = 2
    whole_batches: ClassVar[bool] = True
    summary: ClassVar[str] = "give two views of a row the same numbers, of which none says what another does"
    paper: ClassVar[str] = "Zbontar et al. 2021, https://arxiv.org/abs/2103.03230"

    def __post_init__(self) -> None:
        if not 0 <= self.redundancy < math.inf:
            raise UsageError(f"redundancy, the weight of correlations, is {self.redundancy}: give 0 or more")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, with a projector behind it."""
        return build_view_pair(model, data, self.views, hidden=self.hidden, size=self.size, layers=3)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return both parts, the second weighted."""
        correlations = cross_correlations(*network(batch.inputs[0]))
        own = correlations.diagonal()
        others = correlations.square().sum() - own.square().sum()
        return {"invariance": (1 - own).square().sum(), "redundancy": self.redundancy * others}


def cross_correlations(first: Tensor, second: Tensor) -> Tensor:
    """Return the correlation over the batch of each number of one with each of the other, `(size, size)`."""
    return _standard(first).T @ _standard(second) / len(first)


def _standard(values: Tensor) -> Tensor:
    variance, mean = values.var(0, correction=0), values.mean(0)
    return (values - mean) / (variance + ALMOST).sqrt()

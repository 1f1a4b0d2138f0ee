"""A simple framework for contrastive learning: Chen et al. 2020, https://arxiv.org/abs/2002.05709."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from reuse.augmenting.contrasting import Views
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.objective import Network, Objective
from reuse.objectives.view_pairs import build_view_pair


@dataclass(frozen=True)
class SimClr(Objective):
    """NT-Xent: -log of the share that a view's partner has of exp(cosine / τ) over all other views of the batch.

    A mean over all 2N views of N rows.

    Attributes:
        views: changes that make a view, such as `crop:0.3/mirror`; none: what suits the data.
        temperature: τ.
        hidden: units of the hidden layer of the projector.
        size: of a projection.
    """

    views: Views = None
    temperature: float = 0.5
    hidden: int = 256
    size: int = 64
    least_rows: ClassVar[int] = 2
    whole_batches: ClassVar[bool] = True
    summary: ClassVar[str] = "find the other view of a row among the views of other rows"
    paper: ClassVar[str] = "Chen et al. 2020, https://arxiv.org/abs/2002.05709"

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, with a projector behind it."""
        return build_view_pair(model, data, self.views, hidden=self.hidden, size=self.size)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return NT-Xent."""
        first, second = network(batch.inputs[0])
        return {"loss": nt_xent(first, second, self.temperature)}


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the loss of projections of two views of the same rows, each `(batch, size)`."""
    rows = len(first)
    views = normalize(torch.cat([first, second]))
    similarities = views @ views.T / temperature
    similarities.fill_diagonal_(-math.inf)  # a view is not told from itself
    partners = torch.arange(2 * rows, device=views.device).roll(rows)
    return cross_entropy(similarities, partners)


def check_temperature(temperature: float) -> None:
    """Raise a UsageError unless a temperature is above 0."""
    if not 0 < temperature < math.inf:
        raise UsageError(f"the temperature is {temperature}: give more than 0, such as 0.5")

"""Twins that map rows of one kind near each other: Hadsell, Chopra & LeCun 2006."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.objective import Network, Objective, labels_of
from reuse.objectives.pairs import ALMOST, build_embedding, check_kinds, draw_balanced, same_kind


@dataclass(frozen=True)
class Siamese(Objective):
    """D² / 2 of pairs of one kind, max(0, m - D)² / 2 of others, a mean over pairs; D is the distance of their points.

    Pairs are those of the rows of a batch, as many of one kind as not: all of the rarer sort, as many of the other
    drawn at random. A batch without both has loss 0.

    Attributes:
        margin: m, from which on pairs that are not of one kind are far enough from each other.
        size: numbers of a point.
    """

    margin: float = 1.0
    size: int = 32
    needs_labels: ClassVar[bool] = True
    whole_labels: ClassVar[bool] = True
    least_rows: ClassVar[int] = 2
    summary: ClassVar[str] = "map rows of one class near each other, others at least a margin apart"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables", "sequences")
    paper: ClassVar[str] = "Hadsell et al. 2006, https://doi.org/10.1109/CVPR.2006.100"

    def __post_init__(self) -> None:
        if not 0 < self.margin < math.inf:
            raise UsageError(f"the margin is {self.margin}: give more than 0, such as 1")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and a linear layer to points behind it."""
        check_kinds(data)
        return build_embedding(model, data, self.size)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over as many pairs of one kind as of others."""
        points, same = network(*batch.inputs), same_kind(labels_of(batch))
        first, second = torch.triu_indices(len(points), len(points), 1, device=points.device)
        same = same[first, second]
        errors = self.errors(points[first], points[second], same)
        drawn = draw_balanced(same)
        return {"loss": (errors * drawn).sum() / drawn.sum().clamp(min=1)}

    def errors(self, points: Tensor, others: Tensor, same: Tensor) -> Tensor:
        """Return the loss of each pair, `(pairs,)`, given the points of both and whether they are of one kind."""
        squared = (points - others).square().sum(1)
        apart = (self.margin - squared.clamp(min=ALMOST).sqrt()).clamp(min=0).square()
        return torch.where(same, squared, apart) / 2

"""Triplets, an anchor nearer to a row of its own kind than to another: FaceNet, Schroff et al. 2015."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.objectives.objective import Network, Objective, labels_of
from reuse.objectives.pairs import build_embedding, check_kinds, same_kind, squared_distances

Mined = tuple[Tensor, Tensor, Tensor]
"""Squared distances of anchors to positives and to negatives, and which of them are triplets."""


def semi_hard(distances: Tensor, positive: Tensor, negative: Tensor) -> Mined:
    """Return all anchors with all their positives, each with the nearest negative that is farther than the positive.

    Where none is farther it is the farthest negative. The three are `(batch, batch)`, anchors by positives.

    Args:
        distances: squared, `(batch, batch)`.
        positive: which rows are of the anchor's kind, other than itself, bool `(batch, batch)`.
        negative: which rows are not of the anchor's kind.
    """
    farther = negative[:, None] & (distances[:, None] > distances[:, :, None])  # (anchors, positives, negatives)
    nearest = distances[:, None].masked_fill(~farther, math.inf).amin(2)
    farthest = distances.masked_fill(~negative, -math.inf).amax(1, keepdim=True)
    chosen = torch.where(farther.any(2), nearest, farthest)
    return distances, chosen, positive & negative.any(1, keepdim=True)


def hard(distances: Tensor, positive: Tensor, negative: Tensor) -> Mined:
    """Return each anchor with its farthest positive and its nearest negative, `(batch,)`; arguments as `semi_hard`."""
    farthest = distances.masked_fill(~positive, -math.inf).amax(1)
    nearest = distances.masked_fill(~negative, math.inf).amin(1)
    return farthest, nearest, positive.any(1) & negative.any(1)


MININGS: dict[str, Callable[[Tensor, Tensor, Tensor], Mined]] = {"semi_hard": semi_hard, "hard": hard}


@dataclass(frozen=True)
class Triplet(Objective):
    """max(0, |a - p|² - |a - n|² + α) of anchors a, positives p of their kind and negatives n, points of length 1.

    A mean over the triplets of a batch; one without any has loss 0.

    Attributes:
        margin: α.
        mining: "semi_hard": every positive, with the nearest negative that is farther than it; "hard": the farthest
            positive with the nearest negative, which may collapse (all points alike) where rates are high.
        size: numbers of a point.
    """

    margin: float = 0.2
    mining: str = "semi_hard"
    size: int = 32
    needs_labels: ClassVar[bool] = True
    whole_labels: ClassVar[bool] = True
    least_rows: ClassVar[int] = 2
    whole_batches: ClassVar[bool] = True
    summary: ClassVar[str] = "map rows nearer to all rows of their class than to any of another"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables", "sequences")
    paper: ClassVar[str] = "Schroff et al. 2015, https://arxiv.org/abs/1503.03832"

    def __post_init__(self) -> None:
        lookup(MININGS, self.mining, "mining of triplets")
        if not 0 < self.margin < math.inf:
            raise UsageError(f"the margin is {self.margin}: give more than 0, such as 0.2")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and a linear layer to points of length 1 behind it."""
        check_kinds(data)
        return build_embedding(model, data, self.size, unit=True)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over triplets."""
        points, same = network(*batch.inputs), same_kind(labels_of(batch))
        itself = torch.eye(len(points), dtype=torch.bool, device=points.device)
        near, far, found = MININGS[self.mining](squared_distances(points, points), same & ~itself, ~same)
        errors = (near - far + self.margin).clamp(min=0).masked_fill(~found, 0.0)
        return {"loss": errors.sum() / found.sum().clamp(min=1)}

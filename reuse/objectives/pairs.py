"""Pairs within a batch: the rows that are of one kind, and as many of each sort as there are of the rarer."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from reuse.data.dataset import Dataset
from reuse.errors import UsageError
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.hidden import initialize
from reuse.objectives.objective import example_of

ALMOST = 1e-12  # below the root of a squared distance, whose gradient at 0 is infinite


class PointMap(nn.Module):
    """An encoder, and a linear layer behind it to points whose distances mean something.

    Args:
        encoder: from rows to the coding.
        projector: from the coding, flattened, to `(batch, size)`.
        unit: whether points lie on the unit sphere.
    """

    def __init__(self, encoder: nn.Module, projector: nn.Module, *, unit: bool) -> None:
        super().__init__()
        self.encoder, self.projector, self.unit = encoder, projector, unit

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the points of rows, `(batch, size)`; of several inputs those of all, one after the other."""
        points: Tensor = self.projector(self.encoder(torch.cat(inputs)).flatten(1))
        return normalize(points) if self.unit else points


def build_embedding(model: nn.Module, data: Dataset, size: int, *, unit: bool = False) -> PointMap:
    """Return the model without its output layer, and a linear layer from its coding to `size` numbers.

    Raises:
        UsageError: the size is below 1.
    """
    if size < 1:
        raise UsageError(f"points are to have {size} numbers: give 1 or more")
    encoder = encoder_of(model)
    projector = nn.Linear(math.prod(coding_shape(encoder, example_of(data))), size)
    initialize(projector)
    return PointMap(encoder, projector, unit=unit)


def check_kinds(data: Dataset) -> None:
    """Raise a UsageError unless rows have classes or labels, by which they are of one kind or not."""
    if data.task not in ("classification", "multilabel"):
        raise UsageError(
            f"pairs are rows with equal labels or not, and the task is {data.task}: name a target of classes"
        )


def same_kind(labels: Tensor) -> Tensor:
    """Return which rows of a batch have equal labels, bool `(batch, batch)`.

    Args:
        labels: class numbers `(batch,)`, or zeros and ones `(batch, labels)`.
    """
    columns = labels.reshape(len(labels), -1)
    return (columns[:, None] == columns[None]).all(2)


def squared_distances(points: Tensor, others: Tensor) -> Tensor:
    """Return the squared distance of each of `(n, size)` to each of `(m, size)`, `(n, m)`, without cancellation."""
    return (points[:, None] - others[None]).square().sum(2)


def draw_balanced(same: Tensor) -> Tensor:
    """Return which pairs are drawn, bool `(pairs,)`: as many that are of one kind as that are not, at random.

    Args:
        same: bool `(pairs,)`. All pairs of the rarer sort are drawn.
    """
    count = torch.minimum(same.sum(), (~same).sum())
    scores = torch.rand(same.shape, device=same.device)
    among_same, among_others = (scores.masked_fill(left, 2.0).argsort().argsort() for left in (~same, same))
    return torch.where(same, among_same, among_others) < count

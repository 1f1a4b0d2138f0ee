"""Two views of each row behind one encoder and one projector: what contrastive and redundancy losses compare."""

import math

import torch
from torch import Tensor, nn

from reuse.augmenting.augmentation import Augmentation
from reuse.augmenting.contrasting import Views, parse_views
from reuse.data.dataset import Dataset
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.projectors import build_projector
from reuse.objectives.objective import example_of


class ViewPair(nn.Module):
    """An encoder and a projector, of two views of each row.

    Args:
        encoder: from `(batch, *input_shape)` to the coding.
        projector: from the coding to a projection.
        augment: makes a view of each row.
    """

    def __init__(self, encoder: nn.Module, projector: nn.Module, augment: Augmentation) -> None:
        super().__init__()
        self.encoder, self.projector, self.augment = encoder, projector, augment

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projections of two views, each `(batch, size)`."""
        views = torch.cat([self.augment(x), self.augment(x)])
        first, second = self.projector(self.encoder(views)).chunk(2)
        return first, second


def build_view_pair(
    model: nn.Module, data: Dataset, views: Views, *, hidden: int, size: int, layers: int = 2
) -> ViewPair:
    """Return the model without its output layer, and a projector behind it.

    Raises:
        UsageError: views that are not for such rows.
    """
    augment, encoder = parse_views(views, data), encoder_of(model)
    return ViewPair(encoder, build_projector(coding_width(encoder, data), hidden, size, layers=layers), augment)


def coding_width(encoder: nn.Module, data: Dataset) -> int:
    """Return how many numbers a coding of the data has."""
    return math.prod(coding_shape(encoder, example_of(data)))

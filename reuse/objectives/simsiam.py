"""Simple Siamese networks: Chen & He 2021, https://arxiv.org/abs/2011.10566."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from reuse.augmenting.contrasting import Views
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.nn.projectors import build_projector
from reuse.objectives.objective import Network, Objective
from reuse.objectives.view_pairs import ViewPair, build_view_pair


class PredictedPair(nn.Module):
    """A pair of views, and what is predicted from the projection of each of that of the other.

    Args:
        pair: the encoder, a projector, and what makes views.
        size: of a projection.
    """

    def __init__(self, pair: ViewPair, size: int) -> None:
        super().__init__()
        self.encoder, self.augment = pair.encoder, pair.augment
        self.projector = nn.Sequential(pair.projector, nn.BatchNorm1d(size, affine=False))
        self.predictor = build_projector(size, max(1, size // 4), size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the projections of both views and what is predicted from each, `(batch, size)` all four."""
        views = torch.cat([self.augment(x), self.augment(x)])
        first, second = self.projector(self.encoder(views)).chunk(2)
        return first, second, self.predictor(first), self.predictor(second)


@dataclass(frozen=True)
class SimSiam(Objective):
    """D(p₁, z₂) / 2 + D(p₂, z₁) / 2 with D the negative cosine; z gets no gradient, which alone prevents a collapse.

    Attributes:
        views: changes that make a view, such as `crop:0.3/mirror`; none: what suits the data.
        hidden: units of the hidden layers of the projector; the predictor has a quarter of a projection's.
        size: of a projection.
    """

    views: Views = None
    hidden: int = 256
    size: int = 128
    least_rows: ClassVar[int] = 2
    monitor: ClassVar[str | None] = None  # twins that say the same of everything agree best
    summary: ClassVar[str] = "tell from one view of a row what the same network says of another"
    paper: ClassVar[str] = "Chen & He 2021, https://arxiv.org/abs/2011.10566"

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, with projector and predictor behind it."""
        pair = build_view_pair(model, data, self.views, hidden=self.hidden, size=self.size, layers=3)
        return PredictedPair(pair, self.size)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over rows and over both orders of the views."""
        first, second, from_first, from_second = network(batch.inputs[0])
        agreement = cosine_similarity(from_first, second.detach()) + cosine_similarity(from_second, first.detach())
        return {"loss": -agreement.mean() / 2}

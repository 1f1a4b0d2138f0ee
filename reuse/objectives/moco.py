"""Momentum contrast: He et al. 2020, https://arxiv.org/abs/1911.05722."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from reuse.augmenting.contrasting import Views
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.teacher import Teacher, check_momentum
from reuse.objectives.objective import Network, Objective
from reuse.objectives.simclr import check_temperature
from reuse.objectives.view_pairs import ViewPair, build_view_pair


class QueuedContrast(nn.Module):
    """A query from one view of each row, a key from another by a slow copy of the network, and keys of earlier rows.

    Keys are made with the batch's own statistics where there are batch norms: shuffling rows between devices, which
    keeps a query from knowing its key by them, needs several.

    Args:
        pair: the encoder and the projector, and what makes views.
        length: K, how many keys are kept.
        size: of a key.
    """

    queue: Tensor

    def __init__(self, pair: ViewPair, length: int, size: int) -> None:
        super().__init__()
        self.encoder, self.projector, self.augment = pair.encoder, pair.projector, pair.augment
        self.teacher = Teacher(self.student)
        self.register_buffer("queue", normalize(torch.randn(length, size)))

    @property
    def student(self) -> nn.Module:
        """The part that the slow copy follows."""
        return nn.Sequential(self.encoder, self.projector)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries and keys `(batch, size)`, of length 1, and the queue `(K, size)` as it was before these keys.

        In training the keys join the queue, the oldest first, and as many leave it.
        """
        queries = normalize(self.projector(self.encoder(self.augment(x))))
        keys, earlier = normalize(self.teacher(self.augment(x))), self.queue.clone()
        if self.training:
            self.queue.copy_(torch.cat([earlier, keys.to(earlier.dtype)])[len(keys) :])
        return queries, keys, earlier


@dataclass(frozen=True)
class MoCo(Objective):
    """InfoNCE: -log of the share that a query's own key has of exp(cosine / τ) over that key and the K in the queue.

    The slow copy that makes keys keeps a share of its weights at each step.

    Attributes:
        views: changes that make a view, such as `crop:0.3/mirror`; none: what suits the data.
        temperature: τ.
        momentum: the share of its weights that the slow copy keeps.
        queue: K; at most half of the training rows, as a row's own earlier keys would count as those of others.
        hidden: units of the hidden layer of the projector.
        size: of a query.
    """

    views: Views = None
    temperature: float = 0.2
    momentum: float = 0.99
    queue: int = 1024
    hidden: int = 256
    size: int = 64
    whole_batches: ClassVar[bool] = True
    monitor: ClassVar[str | None] = None  # it is measured against keys that move on
    summary: ClassVar[str] = "find the other view of a row, as a slow copy sees it, among those of many earlier rows"
    paper: ClassVar[str] = "He et al. 2020, https://arxiv.org/abs/1911.05722"

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_momentum(self.momentum)
        if self.queue < 1:
            raise UsageError(f"the queue is to hold {self.queue} keys: give 1 or more")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, a projector behind it, a slow copy and a queue beside it."""
        pair = build_view_pair(model, data, self.views, hidden=self.hidden, size=self.size)
        return QueuedContrast(pair, max(1, min(self.queue, len(data.train) // 2)), self.size)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over rows."""
        queries, keys, earlier = network(batch.inputs[0])
        own = (queries * keys).sum(1, keepdim=True)
        similarities = torch.cat([own, queries @ earlier.to(queries.dtype).T], 1) / self.temperature
        return {"loss": cross_entropy(similarities, own.new_zeros(len(own), dtype=torch.long))}

    def after_step(self, trained: nn.Module, progress: float) -> None:  # noqa: ARG002
        """Let the slow copy follow."""
        assert isinstance(trained, QueuedContrast)
        trained.teacher.follow(trained.student, self.momentum)

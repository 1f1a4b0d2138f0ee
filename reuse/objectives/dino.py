"""Self-distillation with no labels: Caron et al. 2021, https://arxiv.org/abs/2104.14294."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from reuse.augmenting.contrasting import Views, kind_of, parse_views
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.self_distillation import Prototypes, SelfDistillation
from reuse.nn.teacher import check_momentum, rising_momentum
from reuse.objectives.objective import Network, Objective
from reuse.objectives.simclr import check_temperature
from reuse.objectives.view_pairs import build_view_pair

CROPS = {"colours": 4}
"""Small crops beside the two views, by the kind of rows; none of others, of whose parts little can be told."""
SMALL = ("crop:0.1", "mirror", "brightness:0.4", "contrast:0.4", "saturation:0.2", "hue:0.1")


@dataclass(frozen=True)
class Dino(Objective):
    """H(softmax((t - c) / τₜ), softmax(s / τₛ)) of each view the teacher sees and each other one that the student sees.

    The teacher's scores t are centred by their running mean c and sharpened by a low temperature, one against the
    collapse to one prototype, the other against the same share for all. Its momentum rises to 1 as BYOL's does.

    Attributes:
        views: changes that make a large view, such as `crop:0.3/mirror`; none: what suits the data.
        crops: how many small crops the student sees beside; none: 4 of images in colour, else 0.
        temperature: τₛ, the student's.
        teacher_temperature: τₜ.
        momentum: of the teacher, at first.
        centre_momentum: of the running mean c.
        prototypes: how many scores a view has.
        hidden: units of the hidden layers of the projector.
        size: of a projection.
    """

    views: Views = None
    crops: int | None = None
    temperature: float = 0.1
    teacher_temperature: float = 0.04
    momentum: float = 0.99
    centre_momentum: float = 0.9
    prototypes: int = 256
    hidden: int = 256
    size: int = 64
    least_rows: ClassVar[int] = 2
    whole_batches: ClassVar[bool] = True
    monitor: ClassVar[str | None] = None  # a student and a teacher that say the same of everything agree best
    summary: ClassVar[str] = "tell from a part of a row to which prototypes a slow copy counts the row"
    paper: ClassVar[str] = "Caron et al. 2021, https://arxiv.org/abs/2104.14294"

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_temperature(self.teacher_temperature)
        check_momentum(self.momentum)
        check_momentum(self.centre_momentum)
        if self.prototypes < 2 or (self.crops is not None and self.crops < 0):
            raise UsageError(f"{self.prototypes} prototypes, {self.crops} crops: give 2 or more, and 0 or more")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, with projector and prototypes behind it and a teacher beside."""
        kind = kind_of(data)
        crops = CROPS.get(kind, 0) if self.crops is None else self.crops
        if crops and kind != "colours":
            raise UsageError(f"small crops are of images in colour, and these inputs are {kind}: set crops to 0")
        pair = build_view_pair(model, data, self.views, hidden=self.hidden, size=self.size, layers=3)
        small = parse_views(SMALL, data) if crops else None
        projector = nn.Sequential(pair.projector, Prototypes(self.size, self.prototypes))
        return SelfDistillation(pair.encoder, projector, self.prototypes, pair.augment, small, crops)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over rows and pairs of different views."""
        told, taught, centre = network(batch.inputs[0])
        return {"loss": distillation(told / self.temperature, (taught - centre) / self.teacher_temperature)}

    def after_step(self, trained: nn.Module, progress: float) -> None:
        """Let the teacher follow the student, and the centre the teacher's scores."""
        assert isinstance(trained, SelfDistillation)
        trained.teacher.follow(trained.student, rising_momentum(self.momentum, progress))
        trained.centre.lerp_(trained.seen.to(trained.centre.dtype), 1 - self.centre_momentum)


def distillation(told: Tensor, taught: Tensor) -> Tensor:
    """Return the mean cross-entropy of students' shares and teachers', over rows and pairs of different views.

    Args:
        told: logits of the student, `(views, batch, count)`; the first of them are those that the teacher saw too.
        taught: logits of the teacher, `(2, batch, count)`.
    """
    entropies = -torch.einsum("tbk,sbk->ts", taught.softmax(2), told.log_softmax(2)) / told.shape[1]
    same = entropies.diagonal().sum()
    return (entropies.sum() - same) / (entropies.numel() - len(taught))

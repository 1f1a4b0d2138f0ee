"""A student and its teacher, who sort views of a row among prototypes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from reuse.nn.teacher import Teacher

Change = Callable[[Tensor], Tensor]
"""From a batch to a changed copy of it."""


class Prototypes(nn.Module):
    """Cosines with prototypes: a linear layer without bias, of unit vectors to unit vectors.

    Args:
        size: of a projection.
        count: how many prototypes there are.
    """

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, size))

    def forward(self, x: Tensor) -> Tensor:
        """Return the cosine of each of `(batch, size)` with each prototype, `(batch, count)`."""
        return normalize(x) @ normalize(self.weight).T


class SelfDistillation(nn.Module):
    """A student that sees all views, and a teacher, its slow copy, that sees the two large ones.

    Args:
        encoder: from rows to the coding.
        projector: from the coding to scores, one of each prototype.
        count: how many prototypes there are.
        augment: makes a large view of each row.
        small: makes a small crop of each; None: there are none.
        crops: how many small crops.
    """

    centre: Tensor

    def __init__(
        self, encoder: nn.Module, projector: nn.Module, count: int, augment: Change, small: Change | None, crops: int
    ) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, projector
        self.augment, self.small, self.crops = augment, small, crops
        self.teacher = Teacher(self.student)
        self.register_buffer("centre", torch.zeros(count))
        self.seen = torch.zeros(count)  # the mean of the teacher's scores in the last step

    @property
    def student(self) -> nn.Module:
        """The part that the teacher follows."""
        return nn.Sequential(self.encoder, self.projector)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores of the student `(views, batch, count)`, of the teacher `(2, batch, count)`, and the centre."""
        large = [self.augment(x), self.augment(x)]
        small = [self.small(x) for _ in range(self.crops)] if self.small is not None else []
        told = self.projector(self.encoder(torch.cat(large + small))).unflatten(0, (-1, len(x)))
        taught = self.teacher(torch.cat(large)).unflatten(0, (2, len(x)))
        if self.training:
            self.seen = taught.mean((0, 1))
        return told, taught, self.centre

"""Bootstrap your own latent: Grill et al. 2020, https://arxiv.org/abs/2006.07733."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from reuse.augmenting.augmentation import Augmentation, parse_augmentation
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.hidden import HiddenStyle, hidden_linear, initialize
from reuse.nn.teacher import Teacher
from reuse.objectives.objective import Network, Objective, example_of

VIEWS = {
    "colours": "crop:0.3,mirror,brightness:0.4,contrast:0.4,saturation:0.2,hue:0.1",
    "images": "crop:0.5,noise:0.05",
    "vectors": "noise:0.2,mask:0.2",
}
"""Changes that make two views of a row differ, by the kind of the rows, as `reuse.augmenting` reads them."""


class StudentAndTeacher(nn.Module):
    """A student that predicts what a teacher, its own slow copy, says of another view.

    Args:
        encoder: from `(batch, *input_shape)` to the coding.
        projector: from the coding to a projection.
        predictor: from a projection to a projection.
    """

    def __init__(self, encoder: nn.Module, projector: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projector, self.predictor = encoder, projector, predictor
        self.teacher = Teacher(self.student)

    @property
    def student(self) -> nn.Module:
        """The part that the teacher follows."""
        return nn.Sequential(self.encoder, self.projector)

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the student predicts from a view, and what the teacher says of it."""
        return self.predictor(self.projector(self.encoder(view))), self.teacher(view)


@dataclass
class Byol(Objective):
    """2 - 2 cos(q(z), z'), the distance of what the student predicts from one view to what the teacher says of another.

    Summed over both orders of the views, a mean over rows. The teacher keeps the share τ of its weights at each step
    k of K, τ = 1 - (1 - τ₀) (cos(π k / K) + 1) / 2.

    Attributes:
        views: changes that `reuse.augmenting` reads, such as `crop:0.3,mirror`; None takes what suits the data.
        momentum: τ₀.
        hidden: units of the hidden layers of projector and predictor.
        size: of a projection.
    """

    views: str | None = None
    momentum: float = 0.99
    hidden: int = 256
    size: int = 64
    monitor: ClassVar[str | None] = None  # a student and a teacher that say the same of everything agree best
    summary: ClassVar[str] = "tell from one view of a row what a slow copy says of another"
    paper: ClassVar[str] = "Grill et al. 2020, https://arxiv.org/abs/2006.07733"
    _augment: Augmentation = field(default=Augmentation(()), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.momentum <= 1:
            raise UsageError(f"the teacher's momentum is {self.momentum}: give a share from 0 to 1, such as 0.99")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, with projector and predictor behind it and a teacher beside it."""
        if data.num_tokens is not None:
            raise UsageError(
                "byol compares changed views of a row, and tokens cannot be: pretrain on labels (supervised)"
            )
        shape = data.input_shape
        kind = "vectors" if len(shape) != 3 else "colours" if shape[0] == 3 else "images"
        self._augment = parse_augmentation(self.views or VIEWS[kind], shape, data.preprocessing)
        encoder = encoder_of(model)
        projector = self._head(math.prod(coding_shape(encoder, example_of(data))))
        return StudentAndTeacher(encoder, projector, self._head(self.size))

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the distance, both orders of the two views together."""
        first, second = self._augment(batch.inputs[0]), self._augment(batch.inputs[0])
        (prediction, target), (other_prediction, other_target) = network(first), network(second)
        return {"loss": _distance(prediction, other_target) + _distance(other_prediction, target)}

    def after_step(self, trained: nn.Module, progress: float) -> None:
        """Let the teacher follow the student."""
        assert isinstance(trained, StudentAndTeacher)
        trained.teacher.follow(trained.student, 1 - (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2)

    def _head(self, num_inputs: int) -> nn.Module:
        output = nn.Linear(self.hidden, self.size)
        initialize(output)
        return nn.Sequential(nn.Flatten(), hidden_linear(num_inputs, self.hidden, HiddenStyle(norm="batch")), output)


def _distance(prediction: Tensor, target: Tensor) -> Tensor:
    return (2 - 2 * cosine_similarity(prediction, target)).mean()

"""Bootstrap your own latent: Grill et al. 2020, https://arxiv.org/abs/2006.07733."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from reuse.augmenting.augmentation import Augmentation
from reuse.augmenting.contrasting import Views, parse_views
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.nn.decoders import encoder_of
from reuse.nn.projectors import build_projector
from reuse.nn.teacher import Teacher, check_momentum, rising_momentum
from reuse.objectives.objective import Network, Objective
from reuse.objectives.view_pairs import coding_width


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
        views: changes that `reuse.augmenting` reads, such as `crop:0.3/mirror`; none: what suits the data.
        momentum: τ₀.
        hidden: units of the hidden layers of projector and predictor.
        size: of a projection.
    """

    views: Views = None
    momentum: float = 0.99
    hidden: int = 256
    size: int = 64
    monitor: ClassVar[str | None] = None  # a student and a teacher that say the same of everything agree best
    summary: ClassVar[str] = "tell from one view of a row what a slow copy says of another"
    paper: ClassVar[str] = "Grill et al. 2020, https://arxiv.org/abs/2006.07733"
    _augment: Augmentation = field(default=Augmentation(()), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_momentum(self.momentum)

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, with projector and predictor behind it and a teacher beside it."""
        self._augment, encoder = parse_views(self.views, data), encoder_of(model)
        projector = build_projector(coding_width(encoder, data), self.hidden, self.size)
        return StudentAndTeacher(encoder, projector, build_projector(self.size, self.hidden, self.size))

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the distance, both orders of the two views together."""
        first, second = self._augment(batch.inputs[0]), self._augment(batch.inputs[0])
        (prediction, target), (other_prediction, other_target) = network(first), network(second)
        return {"loss": _distance(prediction, other_target) + _distance(other_prediction, target)}

    def after_step(self, trained: nn.Module, progress: float) -> None:
        """Let the teacher follow the student."""
        assert isinstance(trained, StudentAndTeacher)
        trained.teacher.follow(trained.student, rising_momentum(self.momentum, progress))


def _distance(prediction: Tensor, target: Tensor) -> Tensor:
    return (2 - 2 * cosine_similarity(prediction, target)).mean()

"""The outputs of a larger network told by a smaller one: Hinton et al. 2015."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from reuse.data.dataset import SPLITS, Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.hidden import initialize
from reuse.objectives.objective import Network, Objective, add_up, count_rows, example_of, labels_of


class Pupil(nn.Module):
    """An encoder and a linear layer behind it, which says what the teacher says.

    Args:
        encoder: from rows to the coding.
        output: from the coding, flattened, to as many logits as the teacher has.
    """

    def __init__(self, encoder: nn.Module, output: nn.Module) -> None:
        super().__init__()
        self.encoder, self.output = encoder, output

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.output(self.encoder(x).flatten(1))
        return logits


@dataclass(frozen=True)
class Distillation(Objective):
    """T² KL(softmax(v / T) || softmax(z / T)) of a teacher's logits v and one's own z, a mean over rows.

    T² keeps gradients at one size whatever the temperature. What the teacher says of each row is computed once, cached
    as frozen layers are. The paper adds the cross-entropy of true labels, a little; here they are fine-tuning's.

    Attributes:
        teacher: the folder of a run that predicts classes, or a module that gives logits, `(batch, classes)`.
        temperature: T; the higher, the more the small probabilities count.
    """

    teacher: str | nn.Module = ""
    temperature: float = 4.0
    has_teacher: ClassVar[bool] = True
    summary: ClassVar[str] = "say of each row what a larger network says, softened"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables", "sequences")
    paper: ClassVar[str] = "Hinton et al. 2015, https://arxiv.org/abs/1503.02531"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(f"the temperature is {self.temperature}: give more than 0, such as 4")

    def with_models(self, read: Callable[[str], nn.Module]) -> Objective:
        """Return it with the teacher itself in place of its name."""
        return replace(self, teacher=read(self.teacher)) if isinstance(self.teacher, str) and self.teacher else self

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model with as many outputs as the teacher has in place of its own."""
        (num_outputs,) = self._outputs(data)
        encoder = encoder_of(model)
        output = nn.Linear(math.prod(coding_shape(encoder, example_of(data))), num_outputs)
        initialize(output)
        return Pupil(encoder, output)

    def _outputs(self, data: Dataset) -> tuple[int, ...]:
        if not isinstance(self.teacher, nn.Module):
            raise UsageError("distillation learns from a teacher: give it the folder of a run that predicts classes")
        shape = coding_shape(self.teacher, example_of(data))
        if len(shape) != 1:
            raise UsageError(f"a teacher gives logits (batch, classes), and this one gives {('batch', *shape)}")
        if data.task == "classification" and shape[0] != len(data.classes):
            raise UsageError(
                f"the teacher tells {shape[0]} classes apart and the data has {len(data.classes)}: give a teacher of "
                "the same classes"
            )
        return shape

    def prepare(self, data: Dataset, outputs: Callable[[nn.Module], dict[str, Tensor]]) -> Dataset:
        """Return the data with the teacher's logits as targets."""
        assert isinstance(self.teacher, nn.Module)
        told = outputs(self.teacher)
        splits = {name: replace(getattr(data, name), targets=told[name].double(), weights=None) for name in SPLITS}
        return replace(data, **splits, task="regression", classes=(), target_scale=None)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean divergence."""
        return {"loss": self._divergence(network, batch).mean()}

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the summed divergence, and in how many rows the same class is the likeliest."""
        agreed = main_class(network(*batch.inputs)) == main_class(labels_of(batch))
        return {"rows": count_rows(batch), "loss": add_up(self._divergence(network, batch)), "agreed": agreed.sum()}

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return `loss` and `agreement`."""
        return {name: float(tally[own] / tally["rows"]) for name, own in (("loss", "loss"), ("agreement", "agreed"))}

    def _divergence(self, network: Network, batch: Batch) -> Tensor:
        both = network(*batch.inputs), labels_of(batch)
        own, teacher = (log_softmax(logits / self.temperature, 1) for logits in both)
        return self.temperature**2 * kl_div(own, teacher, reduction="none", log_target=True).sum(1)


def main_class(logits: Tensor) -> Tensor:
    """Return the likeliest class of each row."""
    return logits.argmax(1)

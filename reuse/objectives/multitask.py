"""Several targets learned at once, from one coding: Caruana 1997."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reuse.data.dataset import Dataset, learned_targets
from reuse.data.rows import Batch
from reuse.devices import Compute
from reuse.errors import UsageError
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.hidden import initialize
from reuse.objectives.objective import Network, Objective, example_of, labels_of
from reuse.units import format_count, verb_of

FEW_VALUES = 20  # whole numbers of so many different values are classes, more are numbers


class TargetHead(nn.Module):
    """A linear layer from the coding to one target, and the error of what it tells.

    Args:
        num_features: of the coding, flattened.
        values: those that a target of classes takes, as it is learned, in order; None: it is a number.
    """

    values: Tensor | None

    def __init__(self, num_features: int, values: Tensor | None) -> None:
        super().__init__()
        self.output = nn.Linear(num_features, 1 if values is None else len(values))
        initialize(self.output)
        self.register_buffer("values", values)

    def forward(self, coding: Tensor, target: Tensor) -> Tensor:
        """Return the error of each row: cross-entropy, or half of a squared difference."""
        told = self.output(coding)
        if self.values is None:
            error: Tensor = (told.squeeze(1) - target).square() / 2
            return error
        return cross_entropy(told, (target[:, None] - self.values).abs().argmin(1), reduction="none")


class ManyTargets(nn.Module):
    """An encoder, and a head for each target.

    Args:
        encoder: from rows to the coding.
        heads: one a target, in order.
    """

    def __init__(self, encoder: nn.Module, heads: nn.ModuleList) -> None:
        super().__init__()
        self.encoder, self.heads = encoder, heads

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the mean error of each target, `(targets,)`, of targets `(batch, targets)`."""
        coding = self.encoder(x).flatten(1)
        return torch.stack([head(coding, target).mean() for head, target in zip(self.heads, targets.T, strict=True)])


@dataclass(frozen=True)
class MultiTask(Objective):
    """The weighted sum of the mean errors of several targets, each told from the coding by a head of its own.

    A target of 0 and 1, or of whole numbers with at most twenty different values, is one of classes and has
    cross-entropy; any other is a number, learned in the standard scale, and has half of the squared difference: the
    negative log-likelihoods of a class and of a number of variance 1.

    Attributes:
        weights: of the targets, in their order, such as `1/0.5/2`; none: all alike.
    """

    weights: tuple[float, ...] = ()
    needs_labels: ClassVar[bool] = True
    whole_labels: ClassVar[bool] = True
    summary: ClassVar[str] = "tell several targets from one coding, each by a head of its own"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables", "sequences")
    paper: ClassVar[str] = "Caruana 1997, https://doi.org/10.1023/A:1007379606734"

    def __post_init__(self) -> None:
        if not all(0 <= weight < math.inf for weight in self.weights) or (self.weights and not any(self.weights)):
            raise UsageError(f"the weights of targets are {self.weights}: give 0 or more, and more than 0 of one")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and heads behind it."""
        targets = learned_targets(data, data.train, Compute(torch.device("cpu"), "float64"))
        if targets is None or targets.dim() < 2 or targets.size(1) < 2:
            raise UsageError(
                f"{data.name} has one target, and several are learned together: name them with target, as in a,b"
            )
        if len(self.weights) not in (0, targets.size(1)):
            raise UsageError(
                f"there {verb_of(len(self.weights), 'is', 'are')} {format_count(len(self.weights), 'weight')} "
                f"for {format_count(targets.size(1), 'target')}: give one a target"
            )
        encoder = encoder_of(model)
        num_features = math.prod(coding_shape(encoder, example_of(data)))
        assert data.train.targets is not None
        pairs = zip(data.train.targets.T, targets.T, strict=True)
        return ManyTargets(encoder, nn.ModuleList([TargetHead(num_features, _classes(*pair)) for pair in pairs]))

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of each target, by its number."""
        errors = network(*batch.inputs, labels_of(batch))
        weights = self.weights or (1.0,) * len(errors)
        return {f"target{n}": weight * error for n, (weight, error) in enumerate(zip(weights, errors, strict=True), 1)}


def _classes(raw: Tensor, learned: Tensor) -> Tensor | None:
    """Return the values of a target of classes as they are learned, in order; None where it is a number."""
    is_whole = bool((raw == raw.round()).all())
    values = torch.unique(learned)
    return values if is_whole and 2 <= len(values) <= FEW_VALUES else None

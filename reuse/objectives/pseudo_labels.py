"""Labels that the network itself gives to rows that have none: Lee 2013."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.hidden import initialize
from reuse.nn.self_taught import SelfTaught
from reuse.objectives.objective import Network, Objective, add_up, count_rows, divisor_of, example_of, labels_of

UNLABELLED = -1


@dataclass(frozen=True)
class PseudoLabels(Objective):
    """Cross-entropy of labelled rows, and α times that of others, whose likeliest class is taken for their label.

    Attributes:
        labels: rows of each class whose labels are used, the first ones; those of all others are hidden.
        confidence: the least probability of a class that is taken for a label.
        weight: the α that is reached; it rises from 0 in equal steps.
        begin: share of the steps after which it rises.
        end: share of the steps after which it is reached.
    """

    labels: int = 10
    confidence: float = 0.9
    weight: float = 1.0
    begin: float = 0.1
    end: float = 0.6
    needs_labels: ClassVar[bool] = True
    whole_labels: ClassVar[bool] = True
    summary: ClassVar[str] = "learn few labels, and those that the network gives to other rows itself"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables", "sequences")
    paper: ClassVar[str] = "Lee 2013, https://api.semanticscholar.org/CorpusID:18507866"

    def __post_init__(self) -> None:
        if self.labels < 1:
            raise UsageError(f"{self.labels} rows of each class have labels: give 1 or more")
        if not 0 <= self.confidence < 1:
            raise UsageError(f"the confidence is {self.confidence}: give 0 or more and less than 1, such as 0.9")
        if not (0 <= self.begin < self.end <= 1 and math.isfinite(self.weight) and self.weight >= 0):
            raise UsageError(
                f"the weight rises to {self.weight} from {self.begin} to {self.end} of the steps: give 0 or more, and "
                "two shares of which the first is less"
            )

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and a new one behind it."""
        if data.task != "classification":
            raise UsageError(f"pseudo_labels takes classes for labels, and the task is {data.task}: use supervised")
        encoder = encoder_of(model)
        output = nn.Linear(math.prod(coding_shape(encoder, example_of(data))), len(data.classes))
        initialize(output)
        return SelfTaught(encoder, output)

    def prepare(self, data: Dataset, outputs: Callable[[nn.Module], dict[str, Tensor]]) -> Dataset:  # noqa: ARG002
        """Return the data with all but the first labels of each class of the training rows hidden."""
        targets = data.train.targets
        assert targets is not None
        first = [(targets == label).nonzero().flatten()[: self.labels] for label in range(len(data.classes))]
        kept = torch.full_like(targets, UNLABELLED)
        shown = torch.cat(first)
        kept[shown] = targets[shown]
        return replace(data, train=replace(data.train, targets=kept))

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return both means; of a batch without rows of one kind theirs is 0."""
        (logits, weight), targets = network(*batch.inputs), labels_of(batch)
        known, divisors = targets != UNLABELLED, self.divisors(batch)
        probability, likeliest = logits.detach().softmax(1).max(1)
        errors = cross_entropy(logits, torch.where(known, targets, likeliest), reduction="none")
        sure = ~known & (probability >= self.confidence)
        return {
            "labelled": (errors * known).sum() / divisor_of(divisors["labelled"]),
            "pseudo": weight * (errors * sure).sum() / divisor_of(divisors["pseudo"]),
        }

    def divisors(self, batch: Batch) -> dict[str, Tensor]:
        """Return how many rows have labels, and how many have none."""
        known = labels_of(batch) != UNLABELLED
        return {"labelled": known.sum(), "pseudo": (~known).sum()}

    def after_step(self, trained: nn.Module, progress: float) -> None:
        """Let the labels that the network gives itself count more."""
        risen = min(max((progress - self.begin) / (self.end - self.begin), 0.0), 1.0)
        trained.get_buffer("weight").fill_(self.weight * risen)

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return sums over labelled rows: others have nothing to be measured by."""
        (logits, _), targets = network(*batch.inputs), labels_of(batch)
        known = targets != UNLABELLED
        errors = cross_entropy(logits, targets.clamp(min=0), reduction="none")
        right = (logits.argmax(1) == targets).sum()
        rows = known.sum().to(count_rows(batch).dtype)
        return {"rows": rows, "loss": add_up(errors * known), "right": right}

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return `loss` and `accuracy`."""
        return {"loss": float(tally["loss"] / tally["rows"]), "accuracy": float(tally["right"] / tally["rows"])}

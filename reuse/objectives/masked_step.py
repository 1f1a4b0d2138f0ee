"""Hidden steps of a sequence told from what is left of it, as BERT tells hidden tokens: Devlin et al. 2019."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.hidden import HiddenStyle, hidden_linear, initialize
from reuse.nn.steps import count_drawn, draw_steps, hide_steps, present, steps_at
from reuse.objectives.objective import Network, Objective, example_of
from reuse.objectives.sequences import check_sequences, mean_over, step_errors, step_width


class GapFiller(nn.Module):
    """An encoder of damaged sequences, and what tells the step at any place from their coding.

    Args:
        encoder: from sequences to the coding.
        spread: from the coding, flattened, to `(batch, hidden)`.
        places: a vector of `hidden` numbers for each step.
        tell: from these, added, to a step: a logit for each token, or its features.
        share: of the steps that are hidden.
    """

    def __init__(self, encoder: nn.Module, spread: nn.Module, places: nn.Embedding, tell: nn.Module, share: float):
        super().__init__()
        self.encoder, self.spread, self.places, self.tell, self.share = encoder, spread, places, tell, share

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is told of some steps, what stood there, `(batch, most, width)`, and which were hidden, bool."""
        places, drawn = draw_steps(present(x), self.share)
        coding = self.spread(self.encoder(hide_steps(x, places, drawn)).flatten(1))
        return self.tell(torch.relu(coding[:, None] + self.places(places))), steps_at(x, places), drawn


@dataclass(frozen=True)
class MaskedStep(Objective):
    """The mean error of hidden steps: cross-entropy of tokens, squared error of numbers.

    Each is told from the coding of the whole damaged sequence and its own place, so that what comes before and behind
    it counts, whichever way the encoder reads. Hidden is 0: padding among tokens, the mean of standardised numbers. In
    each row exactly the same share of what is there is hidden, in whole steps.

    Attributes:
        mask: share of the steps that are hidden.
        hidden: units of the hidden layer between coding and steps.
    """

    mask: float = 0.15
    hidden: int = 64
    summary: ClassVar[str] = "tell hidden steps of a sequence from the rest"
    suits: ClassVar[tuple[str, ...]] = ("sequences",)
    paper: ClassVar[str] = "Devlin et al. 2019, https://arxiv.org/abs/1810.04805"

    def __post_init__(self) -> None:
        if not 0 < self.mask < 1:
            raise UsageError(
                f"the share of hidden steps is {self.mask}: give more than 0 and less than 1, such as 0.15"
            )

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and two layers behind it that know of places."""
        check_sequences(data)
        encoder = encoder_of(model)
        spread = hidden_linear(math.prod(coding_shape(encoder, example_of(data))), self.hidden, HiddenStyle("none"))
        tell = nn.Linear(self.hidden, step_width(data))
        initialize(tell)
        return GapFiller(encoder, spread, nn.Embedding(data.input_shape[0], self.hidden), tell, self.mask)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over hidden steps."""
        told, truth, drawn = network(batch.inputs[0])
        return {"loss": mean_over(step_errors(told, truth), drawn)}

    def divisors(self, batch: Batch) -> dict[str, Tensor]:
        """Return how many steps are hidden."""
        return {"loss": count_drawn(present(batch.inputs[0]), self.mask).sum()}

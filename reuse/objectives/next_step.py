"""The next step of a sequence told from those before it, as language models learn."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.decoders import encoder_of
from reuse.nn.hidden import initialize
from reuse.nn.recurrent import RecurrentNet
from reuse.nn.steps import hidden_steps, present
from reuse.objectives.objective import Network, Objective
from reuse.objectives.sequences import check_sequences, mean_over, step_errors, step_width


class StepForecaster(nn.Module):
    """A recurrent net, and a linear layer from its hidden state to the next step.

    Args:
        encoder: the net without its output layer.
        forecast: from a hidden state to a step: a logit for each token, or its features.
    """

    def __init__(self, encoder: RecurrentNet, forecast: nn.Module) -> None:
        super().__init__()
        self.encoder, self.forecast = encoder, forecast

    def forward(self, x: Tensor) -> Tensor:
        """Return what is told at each step but the last of the next one, `(batch, time - 1, width)`."""
        told: Tensor = self.forecast(hidden_steps(self.encoder, x)[:, :-1])
        return told


@dataclass(frozen=True)
class NextStep(Objective):
    """The mean error of the step t + 1 told from the steps 1 to t: cross-entropy of tokens, squared error of numbers.

    Padding is told by nobody. What a net of forward recurrence says at a step knows nothing of later ones.
    """

    summary: ClassVar[str] = "tell the next step of a sequence from those before it"
    suits: ClassVar[tuple[str, ...]] = ("sequences",)
    paper: ClassVar[str] = "Dai & Le 2015, https://arxiv.org/abs/1511.01432"

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and a linear layer behind its hidden states."""
        check_sequences(data)
        if not isinstance(model, RecurrentNet):
            kind = type(model).__name__
            raise UsageError(
                f"the next step is told by a net that reads step by step, and {kind} is none: take lstm:64 or gru:64"
            )
        forecast = nn.Linear(model.widths[-1], step_width(data))
        initialize(forecast)
        encoder = encoder_of(model)
        assert isinstance(encoder, RecurrentNet)
        return StepForecaster(encoder, forecast)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over the steps that are there."""
        rows = batch.inputs[0]
        return {"loss": mean_over(step_errors(network(rows), rows[:, 1:]), present(rows)[:, 1:])}

    def divisors(self, batch: Batch) -> dict[str, Tensor]:
        """Return how many steps are there to be told."""
        return {"loss": present(batch.inputs[0])[:, 1:].sum()}

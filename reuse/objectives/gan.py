"""Generative adversarial networks: Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661.

The discriminator is the encoder with one logit behind it (as Radford et al. 2016 reuse it,
https://arxiv.org/abs/1511.06434); the generator is the encoder's mirror.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.nn.decoders import build_generator, coding_shape, encoder_of
from reuse.nn.hidden import initialize
from reuse.objectives.objective import Objective, Turn, example_of


class Adversaries(nn.Module):
    """A discriminator, and a generator that tries to deceive it.

    Args:
        encoder: from `(batch, *input_shape)` to the coding.
        judge: from the coding, flattened, to the logit that a row is real, `(batch, 1)`.
        generator: from `(batch, size)` to `(batch, *input_shape)`.
        size: numbers that a row is made from.
    """

    def __init__(self, encoder: nn.Module, judge: nn.Module, generator: nn.Module, size: int) -> None:
        super().__init__()
        self.encoder, self.judge, self.generator, self.size = encoder, judge, generator, size

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits that rows are real, `(batch,)`."""
        logits: Tensor = self.judge(self.encoder(x).flatten(1))
        return logits.squeeze(1)

    def invent(self, like: Tensor) -> Tensor:
        """Return as many invented rows as there are in `like`, of its shape."""
        rows: Tensor = self.generator(torch.randn(len(like), self.size, dtype=like.dtype, device=like.device))
        return rows


@dataclass(frozen=True)
class Adversarial(Objective):
    """The discriminator D maximises log D(x) + log(1 - D(G(z))), and then the generator G maximises log D(G(z)).

    Each is a turn of the step. In logits l, -log D = softplus(-l) and -log(1 - D) = softplus(l).

    Attributes:
        size: numbers z that a row is made from, standard normal.
        rounds: how often the discriminator has its turn for each of the generator's.
        generator_rate: multiplier of the generator's learning rate (two time scales: Heusel et al. 2017,
            https://arxiv.org/abs/1706.08500).
    """

    size: int = 32
    rounds: int = 1
    generator_rate: float = 1.0
    monitor: ClassVar[str | None] = None  # neither loss says how good the players are, only who is ahead

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model with one logit in place of its output layer, and a generator beside it."""
        encoder, example = encoder_of(model), example_of(data)
        generator = build_generator(encoder, example, self.size)
        judge = nn.Linear(math.prod(coding_shape(encoder, example)), 1)
        initialize(judge)
        return Adversaries(encoder, judge, generator, self.size)

    def turns(self) -> tuple[Turn, ...]:
        """Return the discriminator's turn and the generator's."""
        return (
            Turn(self.discriminate, ("encoder", "judge"), times=self.rounds),
            Turn(self.generate, ("generator",), rate=self.generator_rate),
        )

    def discriminate(self, network: Adversaries, batch: Batch) -> dict[str, Tensor]:
        """Return -log D(x) - log(1 - D(G(z))), a mean over rows."""
        with torch.no_grad():
            invented = network.invent(batch.inputs[0])
        return {"discriminator": softplus(-network(batch.inputs[0])).mean() + softplus(network(invented)).mean()}

    def generate(self, network: Adversaries, batch: Batch) -> dict[str, Tensor]:
        """Return -log D(G(z)), a mean over rows."""
        return {"generator": softplus(-network(network.invent(batch.inputs[0]))).mean()}

"""Generative adversarial networks: Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661.

The discriminator is the encoder with one logit behind it (as Radford et al. 2016 reuse it,
https://arxiv.org/abs/1511.06434); the generator is theirs for images, the encoder's mirror behind an mlp.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.nn.adversaries import Adversaries
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.generators import generator_for
from reuse.nn.hidden import initialize
from reuse.nn.spectral import SpectralBound
from reuse.objectives.gradient_penalty import check_penalty, differentiated_twice, gradient_penalty, watched
from reuse.objectives.objective import Objective, Turn, example_of, some_rows


@dataclass(frozen=True)
class Adversarial(Objective):
    """The discriminator D maximises log D(x) + log(1 - D(G(z))), and then the generator G maximises log D(G(z)).

    Each is a turn of the step. In logits l, -log D = softplus(-l) and -log(1 - D) = softplus(l).

    Attributes:
        size: numbers z that a row is made from, standard normal.
        rounds: how often the discriminator has its turn for each of the generator's.
        generator_rate: multiplier of the generator's learning rate (two time scales: Heusel et al. 2017,
            https://arxiv.org/abs/1706.08500).
        penalty: weight γ of the squared gradient of the logit at real rows, in the discriminator's turn.
        spectral: whether no weight of the discriminator may have a singular value above 1 (see `reuse.nn.spectral`).
    """

    size: int = 32
    rounds: int = 1
    generator_rate: float = 1.0
    penalty: float = 0.1
    spectral: bool = False
    monitor: ClassVar[str | None] = None  # neither loss says how good the players are, only who is ahead
    summary: ClassVar[str] = "tell rows from those that a generator invents"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables")
    paper: ClassVar[str] = "Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661"

    def __post_init__(self) -> None:
        check_penalty(self.penalty)
        self.turns()

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model with one logit in place of its output layer, and a generator beside it."""
        encoder, example = encoder_of(model), example_of(data)
        generator = generator_for(encoder, example, self.size, some_rows(data))
        judge = nn.Linear(math.prod(coding_shape(encoder, example)), 1)
        initialize(judge)
        built = Adversaries(encoder, judge, generator, self.size)
        built.bound = SpectralBound(built, ("encoder", "judge")) if self.spectral else None
        return built

    def turns(self) -> tuple[Turn, ...]:
        """Return the discriminator's turn and the generator's."""
        return (
            Turn(self.discriminate, ("encoder", "judge"), times=self.rounds),
            Turn(self.generate, ("generator",), rate=self.generator_rate),
        )

    def discriminate(self, network: Adversaries, batch: Batch) -> dict[str, Tensor]:
        """Return -log D(x) - log(1 - D(G(z))), a mean over rows, and the penalty."""
        rows, network.has_judged = watched(batch.inputs[0]), torch.is_grad_enabled()
        with torch.no_grad():
            invented = network.invent(rows)
        with differentiated_twice(self.penalty):
            real = network(rows)
        loss = softplus(-real).mean() + softplus(network.suspect(invented)).mean()
        return {"discriminator": loss, **gradient_penalty(real, rows, self.penalty)}

    def generate(self, network: Adversaries, batch: Batch) -> dict[str, Tensor]:
        """Return -log D(G(z)), a mean over rows."""
        return {"generator": softplus(-network.suspect(network.invent(batch.inputs[0]))).mean()}

    def after_step(self, trained: nn.Module, progress: float) -> None:  # noqa: ARG002 - at all times
        """Hold the discriminator's weights after its own turn."""
        assert isinstance(trained, Adversaries)
        if trained.bound is not None and trained.has_judged:
            trained.bound.hold(trained)
        trained.has_judged = False

    def pictures(self, trained: nn.Module, rows: Tensor) -> dict[str, Tensor]:
        """Return as many lines of invented rows as there are rows."""
        assert isinstance(trained, Adversaries)
        return {"samples": torch.stack([trained.invent(rows) for _ in range(len(rows))])}

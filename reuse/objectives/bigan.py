"""Adversaries that learn to encode too: Donahue et al. 2017, and Dumoulin et al. 2017.

https://arxiv.org/abs/1605.09782, https://arxiv.org/abs/1606.00704
"""

import copy
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.adversaries import BidirectionalAdversaries, PairJudge
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.generators import generator_for
from reuse.nn.hidden import initialize
from reuse.objectives.gradient_penalty import check_penalty, differentiated_twice, gradient_penalty, watched
from reuse.objectives.objective import Objective, Turn, example_of, some_rows


@dataclass(frozen=True)
class Bidirectional(Objective):
    """The judge D maximises log D(x, E(x)) + log(1 - D(G(z), z)), then E and G log(1 - D(x, E(x))) + log D(G(z), z).

    Each is a turn of the step. The encoder, not the judge, is what is reused; the judge looks at rows with a copy of
    the encoder as it was.

    Attributes:
        size: numbers z, standard normal.
        hidden: units of the judge's hidden layer over coding and numbers.
        player_rate: multiplier of the learning rate of encoder and generator.
        penalty: weight γ of the squared gradient of the logit at real rows, in the judge's turn.
    """

    size: int = 32
    hidden: int = 128
    player_rate: float = 1.0
    penalty: float = 1.0
    monitor: ClassVar[str | None] = None  # the losses say who is ahead
    summary: ClassVar[str] = "encode rows so that they and their codes look like numbers and rows made from them"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables")
    paper: ClassVar[str] = "Donahue et al. 2017, https://arxiv.org/abs/1605.09782"

    def __post_init__(self) -> None:
        check_penalty(self.penalty)
        if self.hidden < 1:
            raise UsageError(f"the judge has {self.hidden} hidden units: give 1 or more")
        self.turns()

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, a code behind it, and the two others beside it."""
        encoder, example = encoder_of(model), example_of(data)
        generator = generator_for(encoder, example, self.size, some_rows(data))
        features = math.prod(coding_shape(encoder, example))
        code = nn.Linear(features, self.size)
        initialize(code)
        judge = PairJudge(copy.deepcopy(encoder), features, self.size, self.hidden)
        return BidirectionalAdversaries(encoder, code, generator, judge, self.size)

    def turns(self) -> tuple[Turn, ...]:
        """Return the judge's turn and that of the two players."""
        return (
            Turn(self.discriminate, ("judge",)),
            Turn(self.deceive, ("encoder", "code", "generator"), rate=self.player_rate),
        )

    def discriminate(self, network: BidirectionalAdversaries, batch: Batch) -> dict[str, Tensor]:
        """Return -log D(x, E(x)) - log(1 - D(G(z), z)), a mean over rows, and the penalty."""
        rows = watched(batch.inputs[0])
        with torch.no_grad():
            code, z, invented = network(rows)
        with differentiated_twice(self.penalty):
            real = network.judge(rows, code)
        loss = softplus(-real).mean() + softplus(network.judge(invented, z)).mean()
        return {"judge": loss, **gradient_penalty(real, rows, self.penalty)}

    def deceive(self, network: BidirectionalAdversaries, batch: Batch) -> dict[str, Tensor]:
        """Return -log(1 - D(x, E(x))) - log D(G(z), z), a mean over rows."""
        rows = batch.inputs[0]
        code, z, invented = network(rows)
        return {"players": softplus(network.judge(rows, code)).mean() + softplus(-network.judge(invented, z)).mean()}

    def pictures(self, trained: nn.Module, rows: Tensor) -> dict[str, Tensor]:
        """Return rows above what their codes are made into, and rows made from numbers drawn at random."""
        assert isinstance(trained, BidirectionalAdversaries)
        made = [trained(rows)[2] for _ in range(len(rows))]
        return {
            "reconstructions": torch.stack([rows, trained.generator(trained(rows)[0])]),
            "samples": torch.stack(made),
        }

"""The players of adversarial games: networks that invent rows, tell them from real ones, or encode them."""

import torch
from torch import Tensor, nn

from reuse.nn.hidden import HiddenStyle, hidden_linear, initialize
from reuse.nn.spectral import SpectralBound
from reuse.nn.statistics import held_statistics


class Adversaries(nn.Module):
    """A discriminator, and a generator that tries to deceive it.

    Args:
        encoder: from `(batch, *input_shape)` to the coding.
        judge: from the coding, flattened, to the logit that a row is real, `(batch, 1)`.
        generator: from `(batch, size)` to `(batch, *input_shape)`.
        size: numbers that a row is made from.

    Attributes:
        bound: what holds the discriminator's weights; None: nothing does.
        has_judged: whether the discriminator is having its turn.
    """

    bound: SpectralBound | None

    def __init__(self, encoder: nn.Module, judge: nn.Module, generator: nn.Module, size: int) -> None:
        super().__init__()
        self.encoder, self.judge, self.generator, self.size = encoder, judge, generator, size
        self.bound, self.has_judged = None, False

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits that rows are real, `(batch,)`."""
        logits: Tensor = self.judge(self.encoder(x).flatten(1))
        return logits.squeeze(1)

    def suspect(self, invented: Tensor) -> Tensor:
        """Return the logits that invented rows are real; batch norms are evaluated with statistics of real ones."""
        with held_statistics(self.encoder):
            return self(invented)  # type: ignore[no-any-return]

    def invent(self, like: Tensor) -> Tensor:
        """Return as many invented rows as there are in `like`, of its shape."""
        rows: Tensor = self.generator(torch.randn(len(like), self.size, dtype=like.dtype, device=like.device))
        return rows


class PairJudge(nn.Module):
    """A discriminator of pairs: a row and numbers that it is encoded to or made from.

    Args:
        eye: from rows to a coding; a network of its own, of the encoder's kind.
        num_features: of that coding, flattened.
        size: numbers in a pair.
        hidden: units of the hidden layer over both.
    """

    def __init__(self, eye: nn.Module, num_features: int, size: int, hidden: int) -> None:
        super().__init__()
        self.eye, self.hidden = eye, hidden_linear(num_features + size, hidden, HiddenStyle("leaky_relu"))
        self.output = nn.Linear(hidden, 1)
        initialize(self.output)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the logits that pairs are of a real row and its code, `(batch,)`."""
        logits: Tensor = self.output(self.hidden(torch.cat([self.eye(x).flatten(1), z], 1)))
        return logits.squeeze(1)


class BidirectionalAdversaries(nn.Module):
    """An encoder and a generator that deceive a judge together, as they do when each undoes the other.

    Args:
        encoder: from `(batch, *input_shape)` to the coding.
        code: from the coding, flattened, to `(batch, size)`.
        generator: from `(batch, size)` to `(batch, *input_shape)`.
        judge: of pairs.
        size: numbers that a row is made from.
    """

    def __init__(self, encoder: nn.Module, code: nn.Module, generator: nn.Module, judge: nn.Module, size: int) -> None:
        super().__init__()
        self.encoder, self.code, self.generator, self.judge, self.size = encoder, code, generator, judge, size

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the codes of rows, numbers that were drawn, and the rows made from these."""
        z = torch.randn(len(x), self.size, dtype=x.dtype, device=x.device)
        return self.code(self.encoder(x).flatten(1)), z, self.generator(z)

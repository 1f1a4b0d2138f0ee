"""Sparse autoencoders: codings of which few units are active, Ng 2011."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import mse_loss

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.coding import ShownCoding
from reuse.nn.decoders import build_decoder, encoder_of
from reuse.objectives.objective import Network, Objective, example_of

LEAST = 1e-6  # mean activations are held so far from 0 and 1


@dataclass(frozen=True)
class Sparse(Objective):
    """Mean squared error, and what active units of the coding cost.

    - kl: Σ_j ρ log(ρ / ρ_j) + (1 - ρ) log((1 - ρ) / (1 - ρ_j)), where ρ_j is the mean of unit j over the batch and ρ
      the activity asked for; for codings from 0 to 1, such as a sigmoid's.
    - l1: the mean absolute value of a unit; for any coding.

    Attributes:
        weight: of the cost beside the error.
        penalty: "l1" or "kl".
        activity: ρ, for kl.
    """

    weight: float = 0.01
    penalty: str = "l1"
    activity: float = 0.05
    summary: ClassVar[str] = "give the inputs back from a coding of which few units are active"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables", "sequences")
    paper: ClassVar[str] = "Ng 2011, https://web.stanford.edu/class/cs294a/sparseAutoencoder.pdf"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise UsageError(f"the weight of sparsity is {self.weight}: give 0 or more")
        if not 0 < self.activity < 1:
            raise UsageError(f"the activity is {self.activity}: give a share above 0 and below 1, such as 0.05")
        if self.penalty not in ("kl", "l1"):
            raise UsageError(f"the penalty is {self.penalty!r}: give kl or l1")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer and a decoder behind it."""
        encoder = encoder_of(model)
        parts = [module for module in encoder.modules() if not isinstance(module, nn.Identity | nn.Dropout)]
        if self.penalty == "kl" and not isinstance(parts[-1], nn.Sigmoid):
            raise UsageError("kl is of shares, and codings are not from 0 to 1: give activation=sigmoid, or penalty=l1")
        return ShownCoding(encoder, build_decoder(encoder, example_of(data)))

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error over rows and values, and the weighted cost of active units."""
        decoded, coding = network(batch.inputs[0])
        cost = _divergence(coding.mean(0), self.activity) if self.penalty == "kl" else coding.abs().mean()
        return {"reconstruction": mse_loss(decoded, batch.inputs[0]), "sparsity": self.weight * cost}


def _divergence(means: Tensor, activity: float) -> Tensor:
    """Return Σ KL(ρ || ρ_j) over the units."""
    means = means.clamp(LEAST, 1 - LEAST)
    active, silent = activity * (activity / means).log(), (1 - activity) * ((1 - activity) / (1 - means)).log()
    return (active + silent).sum()

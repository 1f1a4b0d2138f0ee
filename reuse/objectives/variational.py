"""The variational autoencoder: Kingma & Welling 2014, https://arxiv.org/abs/1312.6114."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.decoders import build_generator, coding_shape, encoder_of
from reuse.nn.hidden import initialize
from reuse.objectives.objective import Network, Objective, example_of


class VariationalAutoencoder(nn.Module):
    """An encoder, what it says of a row's code, and a decoder of codes.

    Args:
        encoder: from `(batch, *input_shape)` to the coding.
        posterior: from the coding, flattened, to means and log variances, `(batch, 2 * size)`.
        decoder: from `(batch, size)` to `(batch, *input_shape)`.
    """

    def __init__(self, encoder: nn.Module, posterior: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.posterior, self.decoder = encoder, posterior, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what a code drawn for each row is decoded to, and means and log variances of the codes."""
        mean, log_variance = self.posterior(self.encoder(x).flatten(1)).chunk(2, 1)
        code = mean + (log_variance / 2).exp() * torch.randn_like(mean)  # z = μ + σ ε, ε ~ N(0, 1)
        return self.decoder(code), mean, log_variance


@dataclass(frozen=True)
class Variational(Objective):
    """The negative evidence lower bound, -E[log p(x | z)] + β KL(q(z | x) || p(z)), a mean over rows.

    - q(z | x) is normal with the means μ and variances σ² that the encoder gives, p(z) standard normal.
    - p(x | z) is normal around what is decoded, with the variance that fits a batch best, the mean squared error e
      (Rybkin et al. 2021, https://arxiv.org/abs/2006.13202): a fixed one would be too wide for inputs of one scale, so
      that codes say nothing, and too narrow for others. Then -log p(x | z) is n/2 log e for n values, and a constant.

    Attributes:
        size: numbers in a code.
        beta: weight of the divergence; above 1 codes come apart (Higgins et al. 2017,
            https://openreview.net/forum?id=Sy2fzU9gl).
    """

    size: int = 16
    beta: float = 1.0
    summary: ClassVar[str] = "give the inputs back through codes drawn at random"
    paper: ClassVar[str] = "Kingma & Welling 2014, https://arxiv.org/abs/1312.6114"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise UsageError(f"beta is {self.beta}: give 0 or more")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, with codes behind it and a decoder behind these."""
        encoder, example = encoder_of(model), example_of(data)
        decoder = build_generator(encoder, example, self.size)
        posterior = nn.Linear(math.prod(coding_shape(encoder, example)), 2 * self.size)
        initialize(posterior)
        return VariationalAutoencoder(encoder, posterior, decoder)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return -log p(x | z) without its constant, and β times the divergence, which is summed over a code."""
        rows = batch.inputs[0]
        decoded, mean, log_variance = network(rows)
        reconstruction = rows[0].numel() / 2 * mse_loss(decoded, rows).log()
        divergences = (mean.square() + log_variance.exp() - log_variance - 1).sum(1) / 2  # Σ (μ² + σ² - log σ² - 1) / 2
        return {"reconstruction": reconstruction, "divergence": self.beta * divergences.mean()}

    def pictures(self, trained: nn.Module, rows: Tensor) -> dict[str, Tensor]:
        """Return rows above their reconstructions, and what codes drawn at random are decoded to."""
        reconstructed, mean, _ = trained(rows)
        drawn = [trained.get_submodule("decoder")(torch.randn_like(mean)) for _ in range(len(rows))]
        return {"reconstructions": torch.stack([rows, reconstructed]), "samples": torch.stack(drawn)}

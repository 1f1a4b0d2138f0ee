"""Contractive autoencoders: Rifai et al. 2011, https://icml.cc/2011/papers/455_icmlpaper.pdf."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.coding import ShownCoding
from reuse.nn.decoders import build_decoder, encoder_of
from reuse.objectives.gradient_penalty import differentiated_twice
from reuse.objectives.objective import Network, Objective, example_of


@dataclass(frozen=True)
class Contractive(Objective):
    """Mean squared error, and the squared Frobenius norm of the Jacobian of the coding by the inputs, |J|².

    Each row's coding is to change little where the row does. With directions v of independent values of mean 0 and
    variance 1, |J|² is the mean of |vᵀJ|² (Hutchinson 1990), which one pass backwards gives for any encoder; exactly,
    it takes one pass a unit of the coding, all at once.

    Attributes:
        weight: of the norm beside the error; the norm is divided by the number of inputs, as the error is.
        directions: how many v of signs are drawn for each row; 0: exactly.
    """

    weight: float = 0.1
    directions: int = 1
    summary: ClassVar[str] = "give the inputs back from a coding that changes little where they do"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables")
    paper: ClassVar[str] = "Rifai et al. 2011, https://icml.cc/2011/papers/455_icmlpaper.pdf"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0 and self.directions >= 0):
            raise UsageError(f"the weight is {self.weight} and directions {self.directions}: give 0 or more of both")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer and a decoder behind it."""
        encoder = encoder_of(model)
        return ShownCoding(encoder, build_decoder(encoder, example_of(data)))

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error over rows and values, and the weighted norm, a mean over rows."""
        with torch.enable_grad():  # measuring needs the Jacobian too
            rows = batch.inputs[0].detach().requires_grad_()
            with differentiated_twice():
                decoded, coding = network(rows)
            norms = self.norms(coding, rows)
        scale = self.weight / rows[0].numel()
        return {"reconstruction": mse_loss(decoded, batch.inputs[0]), "contraction": scale * norms.mean()}

    def norms(self, coding: Tensor, rows: Tensor) -> Tensor:
        """Return |J|² of each row, or what the drawn directions say of it, `(batch,)`.

        Args:
            coding: `(batch, features)`, of which no row depends on another row.
            rows: `(batch, *input_shape)`, which it was computed from.
        """
        if self.directions:
            directions = torch.randint(0, 2, (self.directions, *coding.shape), device=coding.device).to(coding) * 2 - 1
        else:
            units = torch.eye(coding.shape[1], dtype=coding.dtype, device=coding.device)
            directions = units[:, None].expand(-1, len(coding), -1)
        (products,) = torch.autograd.grad(coding, rows, directions, create_graph=True, is_grads_batched=True)
        squares = products.flatten(2).square().sum(2)  # (directions, batch)
        return squares.mean(0) if self.directions else squares.sum(0)

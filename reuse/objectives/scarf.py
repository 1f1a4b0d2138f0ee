"""Contrast with corrupted columns: SCARF, Bahri et al. 2022, https://arxiv.org/abs/2106.15147."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.nn.columns import Marginal
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.hidden import HiddenStyle, hidden_linear, initialize
from reuse.objectives.objective import Network, Objective, example_of
from reuse.objectives.simclr import check_temperature
from reuse.objectives.tables import check_share, marginal_of


class CorruptionContrast(nn.Module):
    """An encoder and a projector, of rows and of their corrupted copies.

    Args:
        encoder: from `(batch, inputs)` to the coding.
        projector: from the coding to a projection.
        marginal: what corrupted columns are drawn from.
        share: of the columns that are replaced.
    """

    def __init__(self, encoder: nn.Module, projector: nn.Module, marginal: Marginal, share: float) -> None:
        super().__init__()
        self.encoder, self.projector, self.marginal, self.share = encoder, projector, marginal, share

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projections of rows and of their corrupted copies, each `(batch, size)`, of length 1."""
        corrupted, _ = self.marginal.corrupt(x, self.share)
        clean, other = self.projector(self.encoder(torch.cat([x, corrupted]))).chunk(2)
        return normalize(clean), normalize(other)


@dataclass(frozen=True)
class Scarf(Objective):
    """InfoNCE: -log of the share that a row's corrupted copy has of exp(similarity / τ) over the copies of the batch.

    A share of the columns is replaced by draws from each column's own marginal over the training rows. The similarity
    of row i and copy k is the cosine of their projections; the paper's loss is this less the logarithm of the batch's
    rows, a constant.

    Attributes:
        corruption: share of the columns that are replaced, in whole columns.
        temperature: τ.
        hidden: units of the hidden layer of the projector.
        size: of a projection.
    """

    corruption: float = 0.6
    temperature: float = 1.0
    hidden: int = 128
    size: int = 64
    least_rows: ClassVar[int] = 2
    whole_batches: ClassVar[bool] = True
    summary: ClassVar[str] = "tell a row's copy with foreign values in most columns from those of other rows"
    suits: ClassVar[tuple[str, ...]] = ("tables",)
    paper: ClassVar[str] = "Bahri et al. 2022, https://arxiv.org/abs/2106.15147"

    def __post_init__(self) -> None:
        check_share(self.corruption, "replaced")
        check_temperature(self.temperature)

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, a projector behind it, and rows to draw columns from."""
        marginal, encoder = marginal_of(data), encoder_of(model)
        output = nn.Linear(self.hidden, self.size)
        initialize(output)
        num_inputs = math.prod(coding_shape(encoder, example_of(data)))
        projector = nn.Sequential(nn.Flatten(), hidden_linear(num_inputs, self.hidden, HiddenStyle()), output)
        return CorruptionContrast(encoder, projector, marginal, self.corruption)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over rows; a batch of one row tells nothing and has loss 0."""
        clean, corrupted = network(batch.inputs[0])
        similarities = clean @ corrupted.T / self.temperature
        return {"loss": cross_entropy(similarities, torch.arange(len(clean), device=clean.device))}

"""Mask and value imputation: VIME, Yoon et al. 2020 (its self-supervised part)."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.columns import Marginal
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.hidden import initialize
from reuse.objectives.objective import Network, Objective, example_of
from reuse.objectives.tables import check_share, marginal_of


class Imputer(nn.Module):
    """An encoder of corrupted rows, and two linear layers that say what was replaced and what had stood there.

    Args:
        encoder: from `(batch, inputs)` to the coding.
        num_features: of the coding, flattened.
        marginal: what corrupted columns are drawn from.
        share: of the columns that are replaced.
    """

    def __init__(self, encoder: nn.Module, num_features: int, marginal: Marginal, share: float) -> None:
        super().__init__()
        self.encoder, self.marginal, self.share = encoder, marginal, share
        self.mask = nn.Linear(num_features, len(marginal.columns))
        self.values = nn.Linear(num_features, len(marginal.columns.owners))
        for layer in (self.mask, self.values):
            initialize(layer)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits that columns were changed, whether they were, `(batch, columns)`, and the values told."""
        corrupted, replaced = self.marginal.corrupt(x, self.share)
        changed = x.new_zeros(replaced.shape).index_add_(1, self.marginal.columns.owners, (x != corrupted).to(x.dtype))
        coding = self.encoder(corrupted).flatten(1)
        return self.mask(coding), (changed > 0).to(x.dtype), self.values(coding)


@dataclass(frozen=True)
class Vime(Objective):
    """Binary cross-entropy of which columns were changed, and α times the mean squared error of all values.

    A share of the columns is replaced by draws from each column's own marginal over the training rows: in whole columns
    here, where the paper tosses a coin for each. Changed is what differs from before, as the authors' code has it: a
    draw may give the same.

    Attributes:
        corruption: share of the columns that are replaced, in whole columns.
        alpha: α, the weight of the values.
    """

    corruption: float = 0.3
    alpha: float = 2.0
    summary: ClassVar[str] = "tell which columns of a row have foreign values, and what had stood there"
    suits: ClassVar[tuple[str, ...]] = ("tables",)
    paper: ClassVar[str] = (
        "Yoon et al. 2020, https://proceedings.neurips.cc/paper/2020/hash/7d97667a3e056acab9aaf653807b4a03-Abstract.html"
    )

    def __post_init__(self) -> None:
        check_share(self.corruption, "replaced")
        if not 0 <= self.alpha < math.inf:
            raise UsageError(f"alpha, the weight of the values, is {self.alpha}: give 0 or more, such as 2")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, two linear layers behind it, and rows to draw columns from."""
        marginal, encoder = marginal_of(data), encoder_of(model)
        return Imputer(encoder, math.prod(coding_shape(encoder, example_of(data))), marginal, self.corruption)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the mask and that of the values, means over rows and columns or inputs."""
        rows = batch.inputs[0]
        logits, changed, values = network(rows)
        return {
            "mask": binary_cross_entropy_with_logits(logits, changed),
            "values": self.alpha * mse_loss(values, rows),
        }

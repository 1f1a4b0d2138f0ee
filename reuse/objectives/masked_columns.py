"""Hidden columns of a table predicted from the others, as TabNet pretrains: Arik & Pfister 2021."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.nn.columns import Columns
from reuse.nn.decoders import build_decoder, encoder_of
from reuse.objectives.objective import Network, Objective, example_of
from reuse.objectives.tables import check_share, columns_of


class ColumnPredictor(nn.Module):
    """An encoder of rows with hidden columns, and a decoder that says what stands in them.

    Args:
        encoder: from `(batch, inputs)` to the coding.
        decoder: from the coding to `(batch, inputs)`: a number, or logits of a column's categories.
        columns: the inputs that are hidden together.
        share: of the columns that are hidden.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, columns: Columns, share: float) -> None:
        super().__init__()
        self.encoder, self.decoder, self.columns, self.share = encoder, decoder, columns, share

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the error of every column, `(batch, columns)`, and which were hidden, bool."""
        hidden = self.columns.draw(len(x), self.share)
        told = self.decoder(self.encoder(x.masked_fill(self.columns.spread(hidden), 0.0)))
        widths = list(self.columns.widths)
        pairs = zip(torch.split(told, widths, 1), torch.split(x, widths, 1), strict=True)
        return torch.stack([_error(one, truth) for one, truth in pairs], 1), hidden


@dataclass(frozen=True)
class MaskedColumns(Objective):
    """The mean error of hidden columns: squared of numbers, the cross-entropy of categories.

    Hidden is 0, the mean of a number once standardised and none of the categories. All inputs of a column of categories
    are hidden together, as one would give the others away; exactly the same number of columns is hidden in each row.

    Attributes:
        mask: share of the columns that are hidden, in whole columns.
    """

    mask: float = 0.3
    summary: ClassVar[str] = "tell hidden columns from the others"
    suits: ClassVar[tuple[str, ...]] = ("tables",)
    paper: ClassVar[str] = "Arik & Pfister 2021, https://arxiv.org/abs/1908.07442"

    def __post_init__(self) -> None:
        check_share(self.mask, "hidden")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and a decoder behind it."""
        columns, encoder = columns_of(data), encoder_of(model)
        return ColumnPredictor(encoder, build_decoder(encoder, example_of(data)), columns, self.mask)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over hidden columns."""
        errors, hidden = network(batch.inputs[0])
        return {"loss": (errors * hidden).sum() / hidden.sum()}


def _error(told: Tensor, truth: Tensor) -> Tensor:
    """Return the error of one column, `(batch,)`; a row without a known category counts as right."""
    if truth.size(1) == 1:
        return (told - truth).square().squeeze(1)
    return -(log_softmax(told, 1) * truth).sum(1)

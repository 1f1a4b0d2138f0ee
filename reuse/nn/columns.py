"""Columns behind the inputs of a network: those that belong together, columns drawn at random, values put in."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reuse.nn.masks import draw_mask, exact_count


class Columns(nn.Module):
    """The columns of a table, of which one of categories is several inputs: they are hidden and replaced together.

    Args:
        widths: how many inputs each column has become, in order.
    """

    owners: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        owners = torch.arange(len(self.widths)).repeat_interleave(torch.tensor(self.widths))
        self.register_buffer("owners", owners, persistent=False)

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.widths)

    def count(self, share: float) -> int:
        """Return how many columns a share of them is, in whole columns: one at least, and never all."""
        return exact_count(share, len(self))

    def draw(self, num_rows: int, share: float) -> Tensor:
        """Return which columns are drawn in each row, bool `(num_rows, columns)`, exactly `count(share)` in each."""
        return draw_mask(num_rows, len(self), self.count(share), self.owners.device)

    def spread(self, by_column: Tensor) -> Tensor:
        """Return what is said of each column, `(batch, columns)`, of each of its inputs, `(batch, inputs)`."""
        return by_column.index_select(1, self.owners)


class Marginal(nn.Module):
    """Values drawn for each column by itself from the rows it was given, so that columns know nothing of each other.

    Args:
        rows: `(rows, inputs)`; they are kept as a buffer, which checkpoints hold.
        columns: the inputs that come from the same row, as categories do.
    """

    rows: Tensor

    def __init__(self, rows: Tensor, columns: Columns) -> None:
        super().__init__()
        self.columns = columns
        self.register_buffer("rows", rows.clone())

    def forward(self, num_rows: int) -> Tensor:
        """Return `(num_rows, inputs)`."""
        size = (num_rows, len(self.columns))
        picked = torch.randint(len(self.rows), size, device=self.rows.device)
        return self.rows.gather(0, self.columns.spread(picked))

    def corrupt(self, x: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Replace a share of the columns of each row.

        Args:
            x: `(batch, inputs)`.
            share: of the columns, as `Columns.draw` takes it.

        Returns:
            The corrupted rows, and which columns were replaced, bool `(batch, columns)`.
        """
        replaced = self.columns.draw(len(x), share)
        return torch.where(self.columns.spread(replaced), self(len(x)).to(x.dtype), x), replaced

"""Tables as objectives see them: which inputs are one column, and rows that show how its values are spread."""

import torch

from reuse.data.dataset import Dataset
from reuse.errors import UsageError
from reuse.nn.columns import Columns, Marginal

KEPT_ROWS = 4096  # enough for the marginal of a column, and few enough to lie in every checkpoint


def columns_of(data: Dataset) -> Columns:
    """Return the columns that the inputs of the data stand for.

    Raises:
        UsageError: the inputs are no rows of columns, or there is only one column.
    """
    shape = data.input_shape
    if len(shape) != 1 or data.num_tokens is not None:
        kind = "tokens" if data.num_tokens is not None else f"of shape {shape}"
        raise UsageError(
            f"columns of a table are replaced or hidden, and these inputs are {kind}: "
            "give a table or vectors, or pretrain otherwise (autoencoder)"
        )
    widths = [column.width for column in data.preprocessing.columns] or [1] * shape[0]
    if len(widths) < 2:
        raise UsageError("columns are told from each other, and this table has one: give more, or train on labels")
    return Columns(widths)


def marginal_of(data: Dataset) -> Marginal:
    """Return the marginals of the columns over the training rows, of which at most `KEPT_ROWS` are kept.

    Raises:
        UsageError: as `columns_of`.
    """
    columns, rows = columns_of(data), data.train.inputs
    (kept,) = rows.gather(torch.randperm(len(rows))[:KEPT_ROWS])
    return Marginal(kept, columns)


def check_share(share: float, of: str) -> None:
    """Raise a UsageError unless a share of the columns lies between 0 and 1."""
    if not 0 < share < 1:
        raise UsageError(f"the share of columns {of} is {share}: give more than 0 and less than 1, such as 0.3")

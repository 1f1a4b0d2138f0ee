"""Which rows each of many heads learns from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from reuse.errors import UsageError
from reuse.heads.heads import Head


def distinct_masks(heads: Sequence[Head]) -> Tensor | None:
    """Return the different row masks of heads, `(masks, rows)` bool; None where all learn from all rows.

    Raises:
        UsageError: a mask is no mask, is of another length than the others, or holds no row.
    """
    given = [head.rows for head in heads if head.rows is not None]
    if not given:
        return None
    if len({len(mask) for mask in given}) != 1 or any(mask.dtype != torch.bool for mask in given):
        raise UsageError("the rows of heads are masks of True and False over the same training rows")
    every = [mask if mask is not None else torch.ones_like(given[0]) for mask in (head.rows for head in heads)]
    distinct: list[Tensor] = []
    for mask in every:
        if not any(mask is other or torch.equal(mask, other) for other in distinct):
            distinct.append(mask)
    empty = sum(not bool(mask.any()) for mask in distinct)
    if empty:
        raise UsageError(f"{empty} of the row masks hold no row, so their heads have nothing to learn from")
    return torch.stack(distinct)


def number_of(rows: Tensor | None, masks: Tensor | None) -> int:
    """Return which of `masks` the rows of a head are."""
    if masks is None:
        return 0
    wanted = torch.ones_like(masks[0]) if rows is None else rows
    return next(number for number, mask in enumerate(masks) if torch.equal(mask, wanted))

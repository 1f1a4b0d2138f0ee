"""One of many heads: its initial weights, how it is trained, and on which rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reuse.errors import UsageError
from reuse.optim.groups import OptimizerSettings


@dataclass(frozen=True)
class Head:
    """One of many heads.

    Attributes:
        weights: its initial parameters and buffers, under the network's names.
        optimizer: which, and with what numbers.
        schedule: of its rate, a name of `reuse.optim.schedules.SCHEDULES`.
        warmup: length of the rise to the full rate, in epochs.
        rows: True for each training row that it learns from, `(rows,)` bool; None: all.
    """

    weights: Mapping[str, Tensor]
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: str = "constant"
    warmup: float = 0.0
    rows: Tensor | None = None


def distinct_masks(heads: Sequence[Head]) -> tuple[Tensor | None, list[int]]:
    """Return the different row masks of heads, `(masks, rows)` bool, and the number among them of each head's.

    Where all heads learn from all rows there are no masks, and all numbers are 0.

    Raises:
        UsageError: a mask is no mask, is of another length than the others, or holds no row.
    """
    given = [head.rows for head in heads if head.rows is not None]
    if not given:
        return None, [0] * len(heads)
    if len({len(mask) for mask in given}) != 1 or any(mask.dtype != torch.bool for mask in given):
        raise UsageError("the rows of heads are masks of True and False over the same training rows")
    everything = torch.ones_like(given[0])
    distinct: list[Tensor] = []
    numbers = []
    for head in heads:
        mask = everything if head.rows is None else head.rows
        same = (n for n, other in enumerate(distinct) if mask is other or torch.equal(mask, other))
        numbers.append(next(same, len(distinct)))
        distinct += [mask] * (numbers[-1] == len(distinct))
    empty = sum(not bool(mask.any()) for mask in distinct)
    if empty:
        raise UsageError(f"{empty} of the row masks hold no row, so their heads have nothing to learn from")
    return torch.stack(distinct), numbers

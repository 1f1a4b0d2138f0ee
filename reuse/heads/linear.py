"""Linear heads as solvers give them, and checks of what solvers are given."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reuse.errors import DataError, UsageError


@dataclass(frozen=True)
class LinearHeads:
    """Linear heads, one for each set of row weights and each penalty; outputs are `features @ weight.mT + bias`.

    Attributes:
        weight: `(sets, penalties, outputs, features)`.
        bias: `(sets, penalties, outputs)`.
        iterations: how many each took, `(sets, penalties)` int64 on the CPU.
        converged: whether each is as near to its optimum as was asked, `(sets, penalties)` bool on the CPU.
    """

    weight: Tensor
    bias: Tensor
    iterations: Tensor
    converged: Tensor


def checked_penalties(penalties: Sequence[float] | Tensor) -> list[float]:
    """Return penalties as numbers.

    Raises:
        UsageError: there are none, or one is below 0 or not finite.
    """
    values = [float(value) for value in penalties]
    wrong = [value for value in values if not 0 <= value < float("inf")]
    if wrong or not values:
        found = f"{wrong[0]:g} is among the penalties" if wrong else "there are no penalties"
        raise UsageError(f"{found}: give one or several numbers of 0 or more, such as 1e-4,1e-2")
    return values


def checked_shares(features: Tensor, targets: Tensor, row_weights: Tensor | None) -> Tensor:
    """Return each row's share in the mean over rows, `(sets, rows)` float64, each set summing to 1.

    Args:
        features: `(rows, features)`.
        targets: `(rows, ...)`.
        row_weights: `(rows,)` or `(sets, rows)`, from 0, bool too; None: all rows alike.

    Raises:
        DataError: they do not belong together, hold NaN or infinity, or a set weighs nothing.
    """
    if features.ndim != 2 or len(features) != len(targets) or not features.numel():
        raise DataError(
            f"features are {tuple(features.shape)} and targets {tuple(targets.shape)}: a solver needs (rows, features) "
            "and as many targets"
        )
    if not bool(features.isfinite().all()):
        row = int((~features.isfinite()).any(1).nonzero()[0])
        raise DataError(
            f"the features of row {row} hold NaN or infinity: leave the row out, or look where they come from"
        )
    if row_weights is None:
        row_weights = torch.ones(len(features), device=features.device)
    weights = row_weights.reshape(-1, row_weights.shape[-1]).to(features.device, _widest(features))
    if weights.ndim != 2 or weights.shape[1] != len(features) or not bool((weights >= 0).all()):
        raise DataError(
            f"row weights are {tuple(row_weights.shape)}: give numbers from 0 for each of the {len(features)} rows, or "
            "several sets of them"
        )
    totals = weights.sum(1, keepdim=True)
    if not bool((totals > 0).all()) or not bool(totals.isfinite().all()):
        raise DataError("a set of row weights sums to nothing or infinity, so there is nothing to learn from")
    shares: Tensor = weights / totals
    return shares


def _widest(features: Tensor) -> torch.dtype:
    return torch.float32 if features.device.type == "mps" else torch.float64  # MPS has no float64

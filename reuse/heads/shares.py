"""Means over rows that count as much as their weights say."""

import torch
from torch import Tensor


def shares_of(num_rows: int, weights: Tensor | None) -> Tensor:
    """Return the share of each row in a mean over rows, `(rows,)` float64, summing to 1.

    Args:
        num_rows: how many there are.
        weights: from 0, not all of them 0; None: all alike.
    """
    return torch.full((num_rows,), 1 / num_rows, dtype=torch.float64) if weights is None else weights / weights.sum()


def moments_of(features: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each column of `(rows, columns)`, by the shares of the rows."""
    mean = shares @ features
    return mean, (shares @ (features - mean).square()).sqrt()

"""Masks that hide exactly so much of every row, drawn at random."""

import torch
from torch import Tensor


def exact_count(share: float, whole: int) -> int:
    """Return how many of `whole` things a share of them is: one at least, and never all.

    Example:
        >>> exact_count(0.75, 49)
        37
    """
    return max(1, min(round(share * whole), whole - 1))


def draw_mask(num_rows: int, whole: int, count: int, device: torch.device) -> Tensor:
    """Return which of `whole` things are hidden in each row, bool `(num_rows, whole)`, exactly `count` in each."""
    scores = torch.rand(num_rows, whole, device=device)
    return scores.argsort(1).argsort(1) < count

"""Line search: how far to step along given directions, for many convex functions of one number at once."""

from collections.abc import Callable

import torch
from torch import Tensor

Along = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Gives values and slopes, float64, of the functions of some numbers `(some,)` int64 at some steps `(some,)`."""

DECREASE, SLOPE = 1e-4, 0.5
"""The least gain of a step: this share of the decrease that the first slope promises, a slope flatter by this."""

TRIALS = 20


def find_steps(along: Along, values: Tensor, slopes: Tensor, rounding: float) -> Tensor:
    """Return a step for each function that meets both strong Wolfe conditions, where one is found.

    It begins at 1. Where a function still falls steeply the step is quadrupled; what is too far, and what is too near,
    close in on a step by the zero of the straight line through their slopes, kept off both ends. Where no step is
    found, as rounding is all that is left, it is the largest that fell short, or 0.

    Args:
        along: the functions; it is asked last, for each of them, at the step that is returned.
        values: at 0, `(functions,)` float64.
        slopes: at 0, below 0.
        rounding: share of a value that is noise.
    """
    steps, low, high = torch.ones_like(values), torch.zeros_like(values), torch.full_like(values, torch.inf)
    slopes_low, slopes_high = slopes.clone(), torch.zeros_like(slopes)
    open_ = torch.arange(len(values), device=values.device)
    for _ in range(TRIALS):
        found, found_slopes = along(open_, steps[open_])
        allowed = values[open_] + DECREASE * steps[open_] * slopes[open_] + rounding * values[open_].abs()
        too_high = ~(found <= allowed)
        steep = ~(found_slopes.abs() <= -SLOPE * slopes[open_])
        far = too_high | (steep & ~(found_slopes <= 0))
        near = steep & ~far
        past, short = open_[far], open_[near]
        high[past], slopes_high[past] = steps[past], found_slopes[far]
        low[short], slopes_low[short] = steps[short], found_slopes[near]
        open_ = open_[far | near]
        if not len(open_):
            break
        steps[open_] = _between(low[open_], high[open_], slopes_low[open_], slopes_high[open_])
    else:
        steps[open_] = low[open_]
        along(open_, steps[open_])
    return steps


def _between(low: Tensor, high: Tensor, slopes_low: Tensor, slopes_high: Tensor) -> Tensor:
    share = (slopes_low / (slopes_low - slopes_high)).nan_to_num(0.5).clamp(0.1, 0.9)
    return torch.where(high.isinf(), 4 * torch.where(low > 0, low, 1), low + (high - low) * share)

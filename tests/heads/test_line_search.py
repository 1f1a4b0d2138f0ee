"""Steps meet the strong Wolfe conditions on convex functions of very different scales."""

import torch

from reuse.heads.line_search import DECREASE, SLOPE, find_steps


def test_each_function_gets_a_step_of_its_own() -> None:
    centres = torch.logspace(-4, 5, 19, dtype=torch.float64)
    looked_at = torch.zeros_like(centres)

    def along(some: torch.Tensor, steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        looked_at[some] = steps
        away = (steps - centres[some]) / centres[some]
        return away.square() + away.exp() - away, 2 * away / centres[some] + (away.exp() - 1) / centres[some]

    every = torch.arange(len(centres))
    values, slopes = along(every, torch.zeros_like(centres))
    steps = find_steps(along, values, slopes, 0.0)
    assert torch.equal(steps, looked_at)
    found, found_slopes = along(every, steps)
    assert bool((found <= values + DECREASE * steps * slopes).all())
    assert bool((found_slopes.abs() <= SLOPE * slopes.abs()).all())

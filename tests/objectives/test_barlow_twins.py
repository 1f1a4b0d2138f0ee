"""Barlow Twins: the loss by loops, and that no scale counts."""

import numpy as np
import pytest
import torch

from reuse.errors import UsageError
from reuse.objectives.barlow_twins import BarlowTwins, cross_correlations
from view_outputs import BATCH, drawn, said


def test_the_loss_is_that_of_loops_over_correlations() -> None:
    first, second = drawn(2, 9, 4)
    losses = BarlowTwins(redundancy=0.1).losses(said(first, second), BATCH)
    a, b = first.numpy(), second.numpy()
    own = others = 0.0
    for i in range(4):
        for j in range(4):
            correlation = np.corrcoef(a[:, i], b[:, j])[0, 1]
            own += (1 - correlation) ** 2 if i == j else 0
            others += correlation**2 if i != j else 0
    assert losses["invariance"].item() == pytest.approx(own, rel=1e-6)
    assert losses["redundancy"].item() == pytest.approx(0.1 * others, rel=1e-6)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_scaling_and_shifting_projections_changes_nothing(scale: float) -> None:
    first, second = drawn(2, 9, 4)
    factors = scale * torch.arange(1, 5)
    torch.testing.assert_close(
        cross_correlations(factors * first + 3, second / scale), cross_correlations(first, second), rtol=1e-4, atol=1e-5
    )


def test_what_is_white_and_the_same_in_both_views_has_no_loss() -> None:
    white = torch.linalg.qr(drawn(9, 4) - drawn(9, 4).mean(0)).Q
    losses = BarlowTwins().losses(said(white, white), BATCH)
    assert sum(losses.values()).item() < 1e-9  # type: ignore[union-attr]


def test_a_number_that_is_the_same_for_all_rows_has_a_finite_gradient() -> None:
    first, second = (torch.ones(9, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    sum(BarlowTwins().losses(said(first, second), BATCH).values()).backward()  # type: ignore[union-attr]
    assert first.grad is not None
    assert first.grad.isfinite().all()


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(UsageError, match="redundancy, the weight of correlations, is -1"):
        BarlowTwins(redundancy=-1)

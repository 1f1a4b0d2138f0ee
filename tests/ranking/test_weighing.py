"""Means over weighted rows, where one of them weighs next to everything."""

import math

import numpy as np
import pytest
import torch

from reuse.ranking.weighing import SeenRows


@pytest.mark.parametrize("least", [1e-18, 1e-15, 1e-12])
def test_a_row_that_weighs_next_to_everything_tells_no_deviation(least: float) -> None:
    seen = SeenRows.of(torch.tensor([0.3, 0.9, 0.1]), torch.tensor([1.0, least, least], dtype=torch.float64))
    assert seen.mean == pytest.approx(0.3)
    assert math.isnan(seen.deviation)


def test_the_deviation_is_that_of_repeated_rows() -> None:
    values = np.random.default_rng(0).random(50)
    seen = SeenRows.of(torch.from_numpy(values), torch.full((50,), 3.0, dtype=torch.float64))
    assert seen.deviation == pytest.approx(values.std(ddof=1), rel=1e-9)

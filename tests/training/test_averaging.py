"""An average beside the weights: what becomes of it where a training goes on with another kind."""

from typing import Any

import pytest
import torch

from reuse.optim.averaging import Average, ExponentialAverage, StochasticWeightAverage
from reuse.training.averaging import WeightAverage

LIVE = {"weight": torch.tensor([4.0])}


def gone_on(began: Average | None, now: Average | None) -> dict[str, torch.Tensor]:
    """Return what is kept after going on from an average of 0."""
    before = WeightAverage(began, LIVE)
    if began is not None:
        began.update({"weight": torch.tensor([0.0])}, 1)
    after = WeightAverage(now, LIVE)
    after.load_state_dict(before.state_dict())
    after.after_step(2)
    with after.in_place(2, dict):
        return after.tensors


@pytest.mark.parametrize(
    ("began", "now", "expected"),
    [
        (ExponentialAverage(0.75), ExponentialAverage(0.75), 1.0),
        (StochasticWeightAverage(1), StochasticWeightAverage(1), 2.0),
        (ExponentialAverage(0.75), StochasticWeightAverage(1), 4.0),
        (StochasticWeightAverage(1), ExponentialAverage(0.75), 4.0),
        (None, ExponentialAverage(0.75), 4.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_an_average_of_the_same_kind_goes_on(began: Any, now: Any, expected: float) -> None:
    assert gone_on(began, now) == {"weight": torch.tensor([expected])}


def test_an_average_that_is_kept_no_more_is_forgotten() -> None:
    assert gone_on(StochasticWeightAverage(1), None) == {}

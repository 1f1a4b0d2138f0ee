"""The mean over rows, however many steps there are."""

import weakref

import pytest
import torch

from reuse.errors import ReuseError
from reuse.training.running_loss import RunningLoss


@pytest.mark.parametrize("steps", [1, 1024, 2500])
def test_mean_weighs_each_step_by_its_rows(steps: int) -> None:
    losses = torch.rand(steps, generator=torch.Generator().manual_seed(0))
    sizes = [1 + number % 7 for number in range(steps)]
    running = RunningLoss()
    for loss in losses:
        running.add(loss)
    expected = sum(loss * rows for loss, rows in zip(losses.tolist(), sizes, strict=True)) / sum(sizes)
    assert running.mean(sizes, 1) == pytest.approx(expected)


def test_the_first_step_that_is_not_finite_is_named() -> None:
    running = RunningLoss()
    for number in range(1500):
        running.add(torch.tensor(float("nan") if number >= 1200 else 1.0))
    with pytest.raises(ReuseError, match="nan in epoch 4, step 1201 of 1500"):
        running.mean([2] * 1500, 4)


def test_no_tensor_of_a_step_is_kept_on_the_cpu() -> None:
    running, loss = RunningLoss(), torch.tensor(1.5)
    kept = weakref.ref(loss)
    running.add(loss)
    del loss
    assert kept() is None
    assert running.recent() == running.mean([1], 1) == 1.5

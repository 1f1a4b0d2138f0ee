"""Rates that never change are set once; all others before each step."""

import pytest
import torch
from torch.optim import SGD

from reuse.optim.schedules import choose_schedule
from reuse.training.pacing import Pace


def optimizer(since: int = 1) -> SGD:
    groups = [{"params": [torch.zeros(1)], "since": 1}, {"params": [torch.zeros(1)], "since": since}]
    return SGD(groups, lr=9.0)


def test_constant_rates_are_there_from_the_first_step() -> None:
    paced = optimizer()
    pace = Pace(paced, [0.5, 0.25], None, 10)
    for step in range(3):
        pace.set(step)
        assert [group["lr"] for group in paced.param_groups] == [0.5, 0.25]


def test_a_group_that_begins_later_rises() -> None:
    paced = optimizer(since=2)
    pace = Pace(paced, [0.5, 0.2], None, 10, steps=4, rise=1.0)
    found = []
    for step in range(4, 9):
        pace.set(step)
        found.append(paced.param_groups[1]["lr"])
    assert found == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2])


def test_a_schedule_is_asked_at_every_step() -> None:
    paced = optimizer()
    schedule = choose_schedule("linear", steps_per_epoch=5, epochs=2, warmup_epochs=0.0)
    pace = Pace(paced, [0.5, 0.25], schedule, 10)
    found = []
    for step in range(10):
        pace.set(step)
        assert paced.param_groups[0]["lr"] == 2 * paced.param_groups[1]["lr"]
        found.append(paced.param_groups[0]["lr"])
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 10

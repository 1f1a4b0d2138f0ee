"""Schedules against torch's, and the rise at their beginning."""

import pytest
import torch

from reuse.errors import UnknownNameError, UsageError
from reuse.optim.schedules import choose_schedule, constant, cosine, linear, warm_up

TOTAL = 20


def rates_of(make: type[torch.optim.lr_scheduler.LRScheduler], **settings: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, rates = make(optimizer, **settings), []
    for _ in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_cosine_is_torchs() -> None:
    assert [cosine(n, TOTAL) for n in range(TOTAL)] == pytest.approx(
        rates_of(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=TOTAL)
    )


def test_linear_is_torchs() -> None:
    settings = {"start_factor": 1.0, "end_factor": 0.0, "total_iters": TOTAL}
    assert [linear(n, TOTAL) for n in range(TOTAL)] == pytest.approx(
        rates_of(torch.optim.lr_scheduler.LinearLR, **settings)
    )


def test_warm_up_rises_to_the_full_rate_and_leaves_the_rest_to_the_schedule() -> None:
    schedule = warm_up(linear, 5)
    assert [schedule(n, TOTAL) for n in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [schedule(n, TOTAL) for n in range(5, TOTAL)] == [linear(n, TOTAL - 5) for n in range(TOTAL - 5)]


def test_choosing() -> None:
    assert choose_schedule("constant") is None
    assert choose_schedule("cosine") is cosine
    assert choose_schedule(constant, warmup_steps=2)(0, 9) == 0.5
    assert choose_schedule(lambda step, total: step / total)(1, 4) == 0.25
    with pytest.raises(UnknownNameError, match="cosine"):
        choose_schedule("cosin")
    with pytest.raises(UsageError):
        choose_schedule("cosine", warmup_steps=-1)

"""Schedules against torch's and against formulas; their arguments, warm-up and state."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from reuse.errors import UnknownNameError, UsageError
from reuse.optim.schedules import SCHEDULES, Schedule, choose_schedule

EPOCHS, PER_EPOCH = 20, 5
TOTAL = EPOCHS * PER_EPOCH


def chosen(schedule: Any, warmup_epochs: float = 0.0, epochs: int | None = EPOCHS) -> Schedule:
    found = choose_schedule(schedule, steps_per_epoch=PER_EPOCH, epochs=epochs, warmup_epochs=warmup_epochs)
    assert found is not None
    return found


def ours(schedule: Any, **settings: Any) -> list[float]:
    found = chosen(schedule, **settings)
    return [found.multiplier(step, TOTAL) for step in range(TOTAL)]


def theirs(make: Callable[..., lr_scheduler.LRScheduler], *, every: int = 1, **settings: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    schedule, rates = make(optimizer, **settings), []
    for step in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % every == 0:
            schedule.step()
    return rates


@pytest.mark.parametrize(
    ("text", "make", "settings"),
    [
        ("linear", lr_scheduler.LinearLR, {"start_factor": 1.0, "end_factor": 0.0, "total_iters": TOTAL}),
        ("polynomial:2", lr_scheduler.PolynomialLR, {"total_iters": TOTAL, "power": 2}),
        ("cosine", lr_scheduler.CosineAnnealingLR, {"T_max": TOTAL}),
        ("cosine:5", lr_scheduler.CosineAnnealingWarmRestarts, {"T_0": TOTAL // 5}),
        ("exponential:30steps", lr_scheduler.ExponentialLR, {"gamma": 0.1 ** (1 / 30)}),
        ("exponential:6", lr_scheduler.ExponentialLR, {"gamma": 0.1 ** (1 / 30)}),
        ("piecewise:5,0.1,15,0.01", lr_scheduler.MultiStepLR, {"milestones": [5, 15], "every": PER_EPOCH}),
        ("piecewise:25steps,0.1,75steps,0.01", lr_scheduler.MultiStepLR, {"milestones": [25, 75]}),
        ("halve", lr_scheduler.StepLR, {"step_size": 1, "gamma": 0.5, "every": PER_EPOCH}),
    ],
)
def test_is_torchs(text: str, make: Callable[..., lr_scheduler.LRScheduler], settings: dict[str, Any]) -> None:
    assert ours(text) == pytest.approx(theirs(make, **settings), abs=1e-12)


@pytest.mark.parametrize(("text", "scale", "exponent"), [("power:4", 20, 1), ("power:30steps,2", 30, 2)])
def test_power_is_its_formula(text: str, scale: float, exponent: float) -> None:
    expected = 1 / (1 + torch.arange(TOTAL, dtype=torch.float64) / scale) ** exponent
    assert ours(text) == pytest.approx(expected.tolist(), rel=1e-12)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("1cycle", {}),
        ("1cycle:0.4,divide=10,final_divide=100,shape=linear", {"anneal_strategy": "linear", "pct_start": 0.4}),
        ("1cycle:0.25,3", {"three_phase": True, "pct_start": 0.25}),
    ],
)
@pytest.mark.parametrize("total", [TOTAL, 37])
def test_1cycle_is_torchs_in_rate_and_momentum(text: str, settings: dict[str, Any], total: int) -> None:
    if "divide=10" in text:
        settings = {**settings, "div_factor": 10, "final_div_factor": 100}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    reference = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=total, **settings)
    schedule = chosen(text)
    for step in range(total):
        group = optimizer.param_groups[0]
        assert schedule.multiplier(step, total) == pytest.approx(group["lr"], rel=1e-9)
        assert schedule.momentum(step, total) == pytest.approx(group["momentum"], rel=1e-9)
        optimizer.step()
        if step < total - 1:
            reference.step()


@given(
    st.lists(st.floats(0.01, 10), max_size=40),
    st.sampled_from([("performance:0.3,2", 0.3, 2), ("performance", 0.5, 5)]),
)
def test_performance_is_torchs(losses: list[float], settings: tuple[str, float, int]) -> None:
    text, factor, patience = settings
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = lr_scheduler.ReduceLROnPlateau(optimizer, factor=factor, patience=patience, eps=0.0)
    schedule = chosen(text)
    for loss in losses:
        schedule.observe(loss)
        reference.step(loss)
        assert schedule.multiplier(0, TOTAL) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


def test_halving_follows_each_epoch_that_is_no_better_than_the_best() -> None:
    schedule, seen = chosen("halving"), []
    for loss in [1.0, 0.9, 0.95, 0.8999, 0.8999, math.nan, 0.5]:
        schedule.observe(loss)
        seen.append(schedule.multiplier(0, TOTAL))
    assert seen == [1, 1, 0.5, 0.5, 0.25, 0.125, 0.125]


@pytest.mark.parametrize("name", ["performance:0.5,1", "halve_on_plateau"])
@pytest.mark.parametrize("stop", [0, 1, 4])
def test_going_on_equals_never_having_stopped(name: str, stop: int) -> None:
    losses = [1.0, 1.1, 0.9, 1.2, 1.3, 0.8, 0.95, 0.9, 1.0]
    whole, first, second = chosen(name), chosen(name), chosen(name, warmup_epochs=1)
    for loss in losses[:stop]:
        first.observe(loss)
    second.load_state_dict(first.state_dict())
    for loss in losses[stop:]:
        second.observe(loss)
    for loss in losses:
        whole.observe(loss)
    assert second.state_dict() == whole.state_dict()
    assert second.multiplier(TOTAL - 1, TOTAL) == whole.multiplier(TOTAL - 1, TOTAL) < 1


def test_a_function_is_told_apart_by_its_parameters() -> None:
    assert ours(lambda step, total: step / total) == [step / TOTAL for step in range(TOTAL)]
    assert ours(lambda step: step + 0.5) == [step + 0.5 for step in range(TOTAL)]
    assert ours(lambda epoch: epoch) == [step // PER_EPOCH for step in range(TOTAL)]


def test_a_schedule_of_the_users_own_is_taken_as_it_is() -> None:
    own = chosen("linear")
    assert chosen(own) is own


def test_warm_up_rises_to_the_full_rate_and_leaves_the_rest_to_the_schedule() -> None:
    found = ours("linear", warmup_epochs=2)
    assert found[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert found[10:] == pytest.approx([1 - step / (TOTAL - 10) for step in range(TOTAL - 10)])


def test_warm_up_moves_no_boundary() -> None:
    found, plain = ours("piecewise:1,0.5,4,0.1", warmup_epochs=2), ours("piecewise:1,0.5,4,0.1")
    assert found[10:] == plain[10:]
    assert found[:10] == pytest.approx([(step + 1) / 10 * plain[step] for step in range(10)])


def test_constant_is_no_schedule_unless_it_warms_up() -> None:
    assert choose_schedule("constant", steps_per_epoch=4) is None
    assert [chosen("constant", warmup_epochs=0.4).multiplier(step, 9) for step in range(4)] == [0.5, 1, 1, 1]


@given(st.sampled_from(sorted(set(SCHEDULES) - {"piecewise"})), st.integers(1, 40), st.sampled_from([0, 1, 2.5]))
def test_every_multiplier_is_finite_and_at_most_one(name: str, total: int, warmup: float) -> None:
    found = choose_schedule(name, steps_per_epoch=3, warmup_epochs=warmup)
    for step in range(total if found else 0):
        assert found is not None
        assert 0 <= found.multiplier(step, total) <= 1
        assert found.momentum(step, total) is None or 0.85 <= found.momentum(step, total) <= 0.95  # type: ignore[operator]


@pytest.mark.parametrize("text", ["cosine", "cosine:4", "linear", "polynomial:0.5"])
def test_what_falls_to_nothing_is_there_at_the_end_of_the_run(text: str) -> None:
    assert chosen(text).multiplier(TOTAL, TOTAL) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("piecewise:5,0.1,20,0.01", "only 20 epochs"),
        ("piecewise:5,0.1,100steps,0.01", "only 20 epochs"),
        ("piecewise:5", "pairs"),
        ("piecewise", "pairs"),
        ("piecewise:9,0.1,5,0.01", "rising"),
        ("piecewise:5,low", "'low'"),
        ("piecewise:5,-1", "0 or more"),
        ("cosine:21", "20 epochs"),
        ("cosine:1.5", "whole number"),
        ("cosine:many", "cycles is 'many'; give a number"),
        ("cosine:inf", "cannot take its arguments"),
        ("cosine:1,2", "cosine takes cycles"),
        ("linear:2", "takes no arguments"),
        ("exponential:0", "above 0"),
        ("exponential:soon", "'soon'"),
        ("power:5,x", "'x'"),
        ("polynomial:0", "above 0"),
        ("performance:1.5", "below 1"),
        ("performance:0.5,2.5", "whole number"),
        ("1cycle:0", "above 0"),
        ("1cycle:0.5,3", "below 1"),
        ("1cycle:phases=4", "2 or 3"),
        ("1cycle:shape=round", "cosine"),
        ("1cycle:shape=3", "cosine"),
        ("1cycle:size=3", "size"),
    ],
)
def test_impossible_arguments_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        chosen(text)


@pytest.mark.parametrize("warmup", [-1.0, math.nan, 20.0, 30.0])
def test_impossible_warm_ups_are_refused(warmup: float) -> None:
    with pytest.raises(UsageError, match="warm-up"):
        chosen("cosine", warmup_epochs=warmup)


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="cosine"):
        chosen("cosin")


def test_a_function_of_too_much_is_refused() -> None:
    with pytest.raises(UsageError, match="a, b, c"):
        chosen(lambda a, b, c: 1.0)

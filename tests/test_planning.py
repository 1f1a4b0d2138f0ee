"""The plan: its law against sums done by hand on timings that are made up, and what follows from it in a training."""

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import reuse
from reuse import planning
from reuse.layers.cutting import Cut, cut
from reuse.layers.freezing import freeze
from reuse.objectives.supervised import supervised
from reuse.planning import WRITE_BANDWIDTH, Plan, gain, make_plan
from reuse.results import Result

SAMPLE, ROWS = 4, 100
PREFIX_SECONDS, SUFFIX_SECONDS = 0.4, 0.04  # of the sample: F = 10 s and h = 1 s for all rows
FROZEN, SUFFIX, WRITING = 10.0, 1.0, 3 * 4 * ROWS / WRITE_BANDWIDTH
MODULE = """
from torch import nn

def network(in_features, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, 6), nn.ReLU(), nn.Linear(6, num_classes))

def hooked(in_features, num_classes):
    model = network(in_features, num_classes)
    model.register_forward_hook(lambda module, inputs, output: output * 1.0)
    return model
"""
LOSES = "it would take longer than it saves in 1 epoch"


def made_up(prefix: float, suffix: float) -> Callable[..., float]:
    """Return what stands for the clock: the prefix is timed first, the suffix second; both are really run."""
    answers: list[float] = []

    def seconds(work: Callable[[], object], device: torch.device, repeats: int = 2) -> float:
        work()
        answers[:] = answers or [prefix, suffix]
        return answers.pop(0)

    return seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_seconds", made_up(PREFIX_SECONDS, SUFFIX_SECONDS))


@lru_cache
def cut_once() -> Cut:
    """Return a cut whose frontier is three float32 numbers; planning leaves it as it is."""
    model = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    freeze(model, "0")
    return cut(model, torch.randn(SAMPLE, 5))


@pytest.fixture
def parts() -> Cut:
    return cut_once()


def planned(parts: Cut, *, missing: int, epochs: int) -> Plan:
    sample, targets = (torch.randn(SAMPLE, 5),), torch.tensor([0, 1, 1, 0])
    objective = supervised("classification", 2)
    device = torch.device("cpu")
    return make_plan(
        parts,
        parts.bytes_per_sample,
        objective,
        sample,
        targets,
        rows=ROWS,
        missing=missing,
        epochs=epochs,
        device=device,
    )


def test_the_numbers_are_those_worked_out_by_hand(parts: Cut) -> None:
    plan = planned(parts, missing=ROWS, epochs=20)
    assert (plan.frozen_seconds, plan.suffix_seconds) == pytest.approx((FROZEN, SUFFIX))
    assert plan.without_cache == pytest.approx(20 * (10 + 1))
    assert plan.with_cache == pytest.approx(10 + 20 * 1 + WRITING)
    assert plan.later == pytest.approx(20 * 1)
    assert (plan.bytes_per_sample, plan.bytes, plan.rows, plan.missing, plan.epochs) == (12, 1200, 100, 100, 20)
    assert (plan.cache, plan.reason) == (True, "")


@pytest.mark.parametrize("epochs", [2, 7, 200])
def test_the_plan_follows_the_law(parts: Cut, epochs: int) -> None:
    """E (F + h) / (K F + E h) with K = 1 on the first run and K = 0, (F + h) / h, on later ones; writing apart."""
    plan = planned(parts, missing=ROWS, epochs=epochs)
    first = epochs * (FROZEN + SUFFIX) / (FROZEN + epochs * SUFFIX)
    assert plan.without_cache / (plan.with_cache - WRITING) == pytest.approx(first)
    assert gain(plan.frozen_seconds, plan.suffix_seconds, epochs) == pytest.approx(first)
    assert plan.without_cache / plan.later == pytest.approx((FROZEN + SUFFIX) / SUFFIX)


def test_the_gain_with_several_views_of_each_row() -> None:
    assert gain(10, 1, 20, views=4) == pytest.approx(220 / 60)


@given(*[st.floats(1e-6, 1e3)] * 2, st.integers(1, 1000), st.integers(1, 50))
def test_the_gain_has_its_bounds(frozen: float, suffix: float, epochs: int, views: int) -> None:
    value = gain(frozen, suffix, epochs, views)
    assert value <= max(epochs / views, 1) * (1 + 1e-9)
    assert gain(frozen, suffix, 1) == pytest.approx(1)
    assert gain(frozen, suffix, epochs) <= (frozen + suffix) / suffix * (1 + 1e-9)


@pytest.mark.parametrize("missing", [0, 1, 50, 100])
def test_only_what_is_missing_is_paid_for(parts: Cut, missing: int) -> None:
    plan = planned(parts, missing=missing, epochs=5)
    assert plan.with_cache == pytest.approx(missing / ROWS * (FROZEN + WRITING) + 5 * SUFFIX)
    assert plan.cache


def test_one_epoch_does_not_pay_for_writing(parts: Cut) -> None:
    plan = planned(parts, missing=ROWS, epochs=1)
    assert plan.with_cache - plan.without_cache == pytest.approx(WRITING)
    assert (plan.cache, plan.reason) == (False, LOSES)


@given(prefix=st.floats(0, 10), suffix=st.floats(0, 10), epochs=st.integers(1, 5))
def test_what_is_all_there_is_never_declined(prefix: float, suffix: float, epochs: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "_seconds", made_up(prefix, suffix))
        plan = planned(cut_once(), missing=0, epochs=epochs)
    assert (plan.cache, plan.reason) == (True, "")


def test_planning_leaves_no_gradient_and_no_mode_behind(parts: Cut) -> None:
    model = parts.suffix.model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    planned(parts, missing=ROWS, epochs=3)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Fine-tunes a user's callable on 100 digits."""
    Path("brought.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(sys.modules, "brought", raising=False)

    def call(name: str, freeze: str, epochs: int) -> Result:
        return reuse.finetune(f"brought:{name}", freeze=freeze, data="digits", labels=100, epochs=epochs)

    return call


def test_a_training_goes_without_a_cache_that_loses_and_says_so(train: Callable[..., Result]) -> None:
    result = train("network", "1", 1)
    assert result.notes == (f"trained without a cache: {LOSES}",)
    assert result.cache is None
    assert result.plan is not None
    assert not result.plan["cache"]
    assert not list(Path("cache").rglob("segment-*"))


def test_a_training_takes_what_is_cached_even_for_one_epoch(train: Callable[..., Result]) -> None:
    first, second = train("network", "1", 3), train("network", "1", 1)
    assert first.notes == second.notes == ()
    assert first.cache is not None
    assert second.cache is not None
    assert (first.cache["hit"], second.cache["hit"]) == (False, True)
    rows = sum(first.sizes.values())
    assert second.cache["rows"] == {"computed": 0, "found": rows}


@pytest.mark.parametrize(
    ("name", "freeze", "why"),
    [
        ("hooked", "1", "the model itself has forward or backward hooks"),
        ("network", "3", "no frozen layer comes before the first layer that trains"),
    ],
)
def test_a_model_that_cannot_be_cut_is_trained_and_you_are_told_why(
    train: Callable[..., Result], name: str, freeze: str, why: str
) -> None:
    result = train(name, freeze, 2)
    (note,) = result.notes
    assert note.startswith(f"trained without a cache: {why}")
    assert (result.epochs, result.cache, result.plan, result.frozen) == (2, None, None, (freeze,))
    assert 0 <= result.metrics["test"]["accuracy"] <= 1

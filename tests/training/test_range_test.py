"""The range test: no trace of it, rates in proportion, and a proposal below the rate at which training really fails."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from grouped import grouped
from reuse.data.rows import Resident
from reuse.errors import UsageError
from reuse.layers.freezing import freeze
from reuse.objectives.autoencoder import Reconstruction
from reuse.objectives.supervised import Classification, Regression
from reuse.optim.averaging import ExponentialAverage
from reuse.optim.clipping import clip_by_norm
from reuse.optim.constraints import max_norm
from reuse.optim.groups import OptimizerSettings
from reuse.training.range_test import RateCurve, range_test
from reuse.training.settings import LoopSettings
from reuse.training.step import StepParts
from reuse.training.trainer import Trainer

DRAW = torch.Generator().manual_seed(0)
ROWS = torch.randn(120, 6, generator=DRAW)
LABELS = (ROWS[:, 0] > 0).long() + (ROWS[:, 1] > 0).long()


def trainer(**settings: Any) -> Trainer:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.RReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    return Trainer(model, Classification(3), **grouped(**{"learning_rate": 0.05, "batch_size": 20, **settings}))


def found_by(of: Trainer, **settings: Any) -> RateCurve:
    return range_test(of, Resident(ROWS), LABELS, **{"steps": 40, **settings})


def everything(of: Trainer) -> dict[str, Any]:
    state = {name: value for name, value in of.state_dict().items() if not isinstance(value, str)}
    return copy.deepcopy({**state, "kept": dict(of.kept_tensors())})


SETTINGS: list[dict[str, Any]] = [
    {"optimizer": "sgd"},
    {"optimizer": "nadam", "schedule": "cosine"},
    {"optimizer": "momentum", "schedule": "1cycle", "accumulate": 2},
    {"optimizer": "lookahead_adam", "schedule": "performance:0.5,1"},
    {"average": ExponentialAverage(0.9), "precision": "bfloat16", "alternate": True},
    {"parts": StepParts(clipping=[clip_by_norm(0.1)], sharpness=0.05, constraints=[max_norm(0.5)])},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_find_then_fit_equals_fit(settings: dict[str, Any]) -> None:
    ends = []
    for finds in (False, True):
        own = trainer(**copy.deepcopy(settings))
        for epoch in own.epochs(Resident(ROWS), LABELS, Resident(ROWS), LABELS, epochs=4):
            if finds and epoch.number == 2:
                found_by(own)
        ends.append(everything(own))
    first, second = ends
    torch.testing.assert_close(second, first, rtol=0, atol=0)


def test_nothing_is_left_of_it_before_the_first_epoch() -> None:
    own = trainer()
    own.model.eval()
    before, drawn = everything(own), torch.get_rng_state()
    found_by(own)
    torch.testing.assert_close(everything(own), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not own.optimizer.state
    assert all(parameter.grad is None for parameter in own.model.parameters())
    assert not any(module.training for module in own.model.modules())


def test_what_fails_within_leaves_nothing_either() -> None:
    class Failing(Classification):
        def losses(self, network: Any, batch: Any) -> dict[str, Tensor]:
            if len(left) == 0:
                raise KeyboardInterrupt
            left.pop()
            return super().losses(network, batch)

    left = [0] * 5
    own = trainer()
    own = Trainer(own.model, Failing(3))
    before = everything(own)
    with pytest.raises(KeyboardInterrupt):
        found_by(own)
    torch.testing.assert_close(everything(own), before, rtol=0, atol=0)


def test_rates_rise_by_one_factor_and_layers_keep_their_proportions() -> None:
    seen: list[list[float]] = []

    class Noting(Classification):
        def losses(self, network: Any, batch: Any) -> dict[str, Tensor]:
            seen.append([group["lr"] for group in step.optimizer.param_groups])
            return super().losses(network, batch)

    settings = OptimizerSettings("sgd", 0.05, rates={"0.weight": 0.1, "0.bias": 0.1})
    own = Trainer(trainer().model, Noting(3), optimization=settings, loop=LoopSettings(batch_size=20))
    step, trial = own.trial(), own.trial
    own.trial = lambda: step  # type: ignore[method-assign]
    curve = found_by(own, lowest=1e-4, highest=1e-2)
    own.trial = trial  # type: ignore[method-assign]
    assert len(curve.rates) == 40
    ratios = [after / before for before, after in zip(curve.rates[:-1], curve.rates[1:], strict=True)]
    assert ratios == pytest.approx([100 ** (1 / 39)] * 39)
    assert (curve.rates[0], curve.rates[-1]) == (1e-4, pytest.approx(1e-2))
    for rate, rates in zip(curve.rates, seen, strict=True):
        assert {round(own_rate / rate, 9) for own_rate in rates} == {1.0, 0.1}


def test_the_turn_of_a_parabola_is_where_descent_fails() -> None:
    """Full-batch descent on a least-squares problem falls below the rate 2 / largest curvature, and rises above it."""
    rows = torch.randn(64, 5, generator=DRAW, dtype=torch.float64)
    targets = rows @ torch.tensor([[1.0], [-2.0], [0.5], [3.0], [1.0]], dtype=torch.float64)
    limit = 2 / float(torch.linalg.eigvalsh(2 * rows.T @ rows / 64).max())
    model = nn.Linear(5, 1, bias=False).double()
    own = Trainer(model, Regression(), optimization=OptimizerSettings("sgd", 1e-3), loop=LoopSettings(batch_size=64))
    curve = range_test(own, Resident(rows), targets, lowest=limit / 1e3, highest=limit * 1e3, steps=120)
    assert curve.turn is not None
    assert curve.proposal is not None
    assert limit < curve.turn
    assert limit / 10 < curve.proposal < limit
    assert curve.proposal == pytest.approx(curve.turn / 10)
    assert len(curve.rates) < 120, "it explodes and the test ends"
    assert curve.note == ""


def test_smoothed_losses_are_unbiased_running_means() -> None:
    curve = found_by(trainer(), highest=1e-6)
    for number in (1, 2, 17, 40):
        weights = [0.9 ** (number - 1 - place) for place in range(number)]
        mean = sum(w * loss for w, loss in zip(weights, curve.losses[:number], strict=True)) / sum(weights)
        assert curve.smoothed[number - 1] == pytest.approx(mean)


def test_a_loss_that_never_falls_gets_no_proposal() -> None:
    curve = found_by(trainer(), highest=1e-6)
    assert (curve.turn, curve.proposal) == (None, None)
    assert "no rate made the loss fall" in curve.note


def test_a_loss_that_still_falls_at_the_end_is_said_to() -> None:
    curve = found_by(trainer(optimizer="sgd"), lowest=1e-3, highest=0.3)
    assert curve.turn == pytest.approx(0.3)
    assert "still falling at the highest rate" in curve.note


def test_frozen_layers_and_objectives_without_labels() -> None:
    own = trainer()
    freeze(own.model, "0,1")
    before = copy.deepcopy(own.model.state_dict())
    assert (
        found_by(Trainer(own.model, Classification(3), optimization=OptimizerSettings("adam", 0.05))).proposal
        is not None
    )
    torch.testing.assert_close(own.model.state_dict(), before, rtol=0, atol=0)
    curve = range_test(Trainer(nn.Linear(6, 6), Reconstruction()), Resident(ROWS), None, steps=60)
    assert curve.proposal is not None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lowest": 0.0}, "between rates above 0"),
        ({"lowest": 1.0, "highest": 0.1}, "from rate 1.0 to 0.1"),
        ({"highest": float("inf")}, "from rate"),
        ({"steps": 5}, "give 20 or more"),
    ],
)
def test_bad_bounds(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        found_by(trainer(), **settings)

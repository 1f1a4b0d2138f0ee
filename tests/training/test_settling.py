"""Which blocks have settled: against the formula in float64, and that watching changes nothing."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grouped import grouped
from reuse.data.rows import Resident
from reuse.errors import UsageError
from reuse.layers.freezing import freeze
from reuse.objectives.supervised import Classification
from reuse.optim.clipping import clip_by_norm
from reuse.optim.groups import OptimizerSettings
from reuse.training.compiling import traces_gradients
from reuse.training.settings import LoopSettings
from reuse.training.settling import Settling, changes, settled_blocks
from reuse.training.step import Step, StepParts
from reuse.training.trainer import Trainer

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(48, 5, generator=DRAW)
Y = torch.randint(3, (48,), generator=DRAW)
NAMES = ("0", "2", "4")


def network() -> nn.Sequential:
    torch.manual_seed(1)
    sizes = [(5, 6), (6, 7), (7, 6), (6, 3)]
    return nn.Sequential(*[layer for a, b in sizes for layer in (nn.Linear(a, b), nn.Tanh())][:-1])


def watched(model: nn.Module, **settings: Any) -> Settling:
    return Settling({name: dict(model.get_submodule(name).named_parameters(prefix=name)) for name in NAMES}, **settings)


def trainer_of(model: nn.Module, settling: Settling | None, **settings: Any) -> Trainer:
    how = grouped(batch_size=16, learning_rate=0.01, **settings)
    return Trainer(model, Classification(3), settling=settling, **how)


def trained(model: nn.Module, settling: Settling | None, epochs: int, **settings: Any) -> Trainer:
    trainer = trainer_of(model, settling, **settings)
    for _ in trainer.epochs(Resident(X), Y, epochs=epochs):
        pass
    return trainer


@pytest.mark.parametrize("every", [1, 2])
def test_changes_are_those_of_the_formula(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps an epoch: gradients as they come, added up over an interval, their absolute values summed."""
    seen: list[dict[str, Tensor]] = []
    backward = Step._backward

    def recorded(self: Step, *arguments: Any) -> Tensor:
        loss = backward(self, *arguments)
        seen.append({name: p.grad.double().clone() for name, p in self.named_parameters if p.grad is not None})
        return loss

    monkeypatch.setattr(Step, "_backward", recorded)
    model = network()
    settling = watched(model, percentile=100, every=every)
    trained(model, settling, 2 * every, parts=StepParts(clipping=[clip_by_norm(0.01)]))
    steps = 3 * every
    norms = [
        {
            block: sum(
                float(sum(step[name] for step in seen[start : start + steps]).abs().sum())
                for name in (f"{block}.weight", f"{block}.bias")
            )
            for block in NAMES
        }
        for start in (0, steps)
    ]
    expected = {block: abs(norms[0][block] - norms[1][block]) / norms[0][block] for block in NAMES}
    highest = max(expected, key=expected.__getitem__)
    expected = {block: change for block, change in expected.items() if NAMES.index(block) < NAMES.index(highest)}
    assert settling.state_dict()["norms"] == pytest.approx(norms[1], rel=1e-5)
    assert settling.settled == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("percentile", [0, 10, 50, 90, 100])
def test_what_settles_is_a_beginning_below_the_percentile_and_never_all(percentile: float) -> None:
    draw = np.random.default_rng(0)
    for count in (1, 2, 3, 8) * 10:
        changed = dict(zip("abcdefgh", draw.random(count), strict=False))
        settled = settled_blocks(changed, percentile)
        bound = np.percentile(list(changed.values()), percentile)
        expected = next(number for number, change in enumerate(changed.values()) if change >= bound)
        assert list(settled) == list(changed)[:expected]
        assert len(settled) < count
        assert percentile > 0 or not settled


def test_a_block_without_change_settles_first() -> None:
    changed = changes({"a": 2.0, "b": 1.0, "c": 1.0}, {"a": 2.0, "b": 0.5, "c": 1.7})
    assert changed == pytest.approx({"a": 0.0, "b": 0.5, "c": 0.7})
    assert settled_blocks(changed, 50) == {"a": 0.0}


def test_gradients_of_zero_settle_and_those_that_come_alive_do_not() -> None:
    changed = changes({"a": 0.0, "b": 0.0, "c": 1.0}, {"a": 0.0, "b": 0.3, "c": 1.1})
    assert changed == {"a": 0.0, "b": math.inf, "c": pytest.approx(0.1)}
    assert settled_blocks(changed, 99) == {"a": 0.0}
    assert settled_blocks({"a": math.nan, "b": 0.1}, 100) == {}


class Silencing(nn.Module):
    """Lets nothing through, neither values nor gradients."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows * 0


@pytest.mark.parametrize("percentile", [1, 50, 100])
def test_a_layer_that_nothing_moves_settles_as_soon_as_two_intervals_are_over(percentile: float) -> None:
    model = network()
    model[1] = Silencing()
    settling = watched(model, percentile=percentile)
    trainer = trainer_of(model, settling)
    epochs = trainer.epochs(Resident(X), Y, epochs=2)
    next(epochs)
    assert settling.settled == {}
    next(epochs)
    assert settling.settled["0"] == 0.0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_watching_changes_nothing(precision: str) -> None:
    plain, model = network(), network()
    without = trained(plain, None, 4, precision=precision)
    with_it = trained(model, watched(model, percentile=100), 4, precision=precision)
    assert len(with_it.state_dict()["settling"]["norms"]) == len(NAMES)
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=0, atol=0)
    assert torch.equal(with_it.state_dict()["random"]["cpu"], without.state_dict()["random"]["cpu"])


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_resumed_within_an_interval_it_goes_on(every: int, epoch: int) -> None:
    model = network()
    whole = watched(model, percentile=100, every=every)
    trained(model, whole, 6)
    begun = network()
    state = trained(begun, watched(begun, percentile=100, every=every), epoch).state_dict()
    again = network()
    settling = watched(again, percentile=100, every=every)
    trainer = trainer_of(again, settling)
    trainer.load_state_dict(state)
    for _ in trainer.epochs(Resident(X), Y, epochs=6):
        pass
    assert settling.settled == whole.settled
    assert settling.state_dict()["norms"] == whole.state_dict()["norms"]


def test_what_is_frozen_is_not_watched_and_its_state_is_left_behind() -> None:
    model = network()
    settling = watched(model, percentile=100)
    state = trained(model, settling, 2).state_dict()
    assert "0" in settling.settled
    freeze(model, "0")
    fewer = watched(model, percentile=100)
    fewer.load_state_dict(state["settling"])
    assert fewer.settled.keys() == settling.settled.keys() - {"0"}
    assert fewer.state_dict()["norms"].keys() == {"2", "4"}


@pytest.mark.skipif(not traces_gradients(), reason="this torch cannot compile gradients")
def test_compiled_steps_are_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that are compiled call what watches as others do; the compiler itself is left out."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    plain, model = network(), network()
    settling = [watched(plain, percentile=100), watched(model, percentile=100)]
    for own, compiled, some in ((plain, False, settling[0]), (model, True, settling[1])):
        trainer = Trainer(
            own,
            Classification(3),
            optimization=OptimizerSettings("adam", 0.01),
            loop=LoopSettings(batch_size=4, compile=compiled),
            settling=some,
        )
        notes = [note for epoch in trainer.epochs(Resident(X), Y, epochs=3) for note in epoch.notes]
        assert notes == []
    assert settling[1].state_dict()["norms"] == pytest.approx(settling[0].state_dict()["norms"], rel=1e-5)


@pytest.mark.parametrize(("settings", "message"), [({"percentile": 101}, "101"), ({"every": 0}, "every is 0")])
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        watched(network(), **settings)

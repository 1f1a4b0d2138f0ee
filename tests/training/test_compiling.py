"""Compiled steps train as uncompiled ones, and where they cannot be had training goes on without and says why."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from grouped import grouped
from reuse.data.rows import Resident
from reuse.objectives.supervised import Classification
from reuse.optim.averaging import ExponentialAverage
from reuse.optim.clipping import clip_by_norm
from reuse.optim.penalties import l2
from reuse.reporting import Epoch
from reuse.training import compiling
from reuse.training.compiling import Compiling
from reuse.training.step import StepParts
from reuse.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not compiling.traces_gradients(), reason="this torch cannot compile gradients")
DRAW = torch.Generator().manual_seed(0)
ROWS = Resident(torch.randn(16 * 9 + 5, 6, generator=DRAW))  # an epoch: an eager step, two graphs of four, a rest of 5
LABELS = torch.randint(3, (149,), generator=DRAW)


def network() -> nn.Module:
    torch.manual_seed(0)
    # No bias before the norm: its gradient is rounding alone, which Adam would make as large as any other.
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ELU(), nn.Linear(8, 3))


def train(compiled: bool | str, epochs: int = 3, **settings: Any) -> tuple[list[Epoch], dict[str, Tensor], Trainer]:
    model = network()
    parts = StepParts(penalties=[l2(dict(model.named_parameters()), {"0.weight": 0.01})], clipping=[clip_by_norm(0.5)])
    settings = {"batch_size": 16, "learning_rate": 0.05, "schedule": "cosine", "parts": parts, **settings}
    trainer = Trainer(model, Classification(3), **grouped(compile=compiled, **settings))
    return list(trainer.epochs(ROWS, LABELS, epochs=epochs)), model.state_dict(), trainer


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["nesterov", "adamw"])
def test_compiled_steps_train_as_others(optimizer: str) -> None:
    plain, plain_weights, _ = train(compiled=False, optimizer=optimizer)
    ours, our_weights, trainer = train(compiled=True, optimizer=optimizer)
    assert [epoch.notes for epoch in ours] == [(), (), ()]
    assert trainer.compiling.chosen
    assert [e.train["loss"] for e in ours] == pytest.approx([e.train["loss"] for e in plain], rel=1e-4)
    assert [e.learning_rate for e in ours] == pytest.approx([e.learning_rate for e in plain], rel=1e-6)
    torch.testing.assert_close(our_weights, plain_weights, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["momentum", "sgd"])  # without state, and so with an eager step each epoch
def test_resumed_equals_uninterrupted_when_compiled(optimizer: str) -> None:
    _, whole, _ = train(compiled=True, optimizer=optimizer, epochs=4, schedule="constant")
    _, _, killed = train(compiled=True, optimizer=optimizer, epochs=2, schedule="constant")
    _, _, resumed = train(compiled=True, optimizer=optimizer, epochs=0, schedule="constant")
    resumed.load_state_dict(killed.state_dict())
    list(resumed.epochs(ROWS, LABELS, epochs=4))
    torch.testing.assert_close(resumed.model.state_dict(), whole, rtol=0, atol=0)


def test_without_a_compiler_training_goes_on_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_compiler(function: Callable[..., object], **_: object) -> Callable[..., object]:
        def fail(*_: object) -> object:
            raise RuntimeError("no working C++ compiler\nand more lines")

        return fail

    _, plain, _ = train(compiled=False, optimizer="sgd")
    monkeypatch.setattr(torch, "compile", without_compiler)
    epochs, ours, _ = train(compiled=True, optimizer="sgd")
    assert epochs[0].notes == ("steps are not compiled: RuntimeError: no working C++ compiler",)
    assert epochs[1].notes == ()
    torch.testing.assert_close(ours, plain, rtol=0, atol=0)  # the optimizer is given back as it was


@pytest.mark.parametrize(("before", "now", "chosen"), [(False, True, True), (True, False, False), (True, "auto", True)])
def test_resuming_takes_the_setting_of_now_and_the_choice_of_auto(before: bool, now: bool | str, chosen: bool) -> None:
    _, _, begun = train(compiled=False, epochs=0)
    state = {**begun.state_dict(), "compiled": before}
    _, _, resumed = train(compiled=now, epochs=0)
    resumed.load_state_dict(state)
    assert resumed.compiling.chosen is chosen


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"schedule": "1cycle", "optimizer": "momentum"}, "moves the momentum"),
        ({"average": ExponentialAverage(0.9)}, "moving average"),
        ({"optimizer": "lamb"}, "not torch's own"),
        ({"parts": StepParts(sharpness=0.05)}, "sharpness-aware"),
        ({"accumulate": 2}, "several batches"),
    ],
)
def test_what_cannot_be_compiled_is_said_once(settings: dict[str, Any], reason: str) -> None:
    epochs, _, _ = train(compiled=True, **settings)
    assert len(epochs[0].notes) == 1
    assert reason in epochs[0].notes[0]
    assert [epoch.notes for epoch in epochs[1:]] == [(), ()]


@pytest.mark.parametrize(
    ("seconds", "left", "state", "compiles"),
    [
        (1.0, 19, False, False),  # too short
        (2.0, 300, False, True),
        (2.0, 300, True, False),  # an optimizer with a state gains little
        (0.01, 500, False, False),
        (100.0, 5, False, False),  # arithmetic, and what is gained are calls
    ],
)
def test_auto_weighs_seconds_to_compile_against_those_saved(
    seconds: float, left: int, state: bool, compiles: bool
) -> None:
    optimizer = SimpleNamespace(state={0: {"step": 1} if state else {}})
    choice, step = Compiling("auto"), SimpleNamespace(parameters=[0] * 12, optimizer=optimizer)
    assert choice.chosen is None
    choice.decide(step, seconds, 1688, left)  # type: ignore[arg-type]
    assert choice.chosen is compiles
    assert compiling.BASE_SECONDS > 10, "tens of seconds, as measured"

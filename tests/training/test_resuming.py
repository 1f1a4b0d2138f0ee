"""Resumed training equals uninterrupted training, bit for bit."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grouped import grouped
from reuse.data.rows import Batch, Resident
from reuse.errors import RunError
from reuse.layers.freezing import freeze, unfreeze
from reuse.objectives.supervised import Classification
from reuse.optim.averaging import ExponentialAverage, StochasticWeightAverage
from reuse.optim.clipping import clip_by_norm
from reuse.optim.constraints import max_norm
from reuse.optim.groups import OptimizerSettings
from reuse.optim.penalties import l1
from reuse.training.settings import LoopSettings
from reuse.training.state import live_tensors
from reuse.training.step import StepParts
from reuse.training.stopping import EarlyStopping
from reuse.training.trainer import Trainer

DRAW = torch.Generator().manual_seed(0)
ROWS = Resident(torch.randn(70, 6, generator=DRAW))
LABELS = torch.randint(3, (70,), generator=DRAW)
VALID = Resident(torch.randn(30, 6, generator=DRAW))
VALID_LABELS = torch.randint(3, (30,), generator=DRAW)
EPOCHS = 6


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))


def train(
    model: nn.Module, trainer: Trainer, stopping: EarlyStopping, until: int
) -> list[tuple[int, dict[str, float], dict[str, float], float]]:
    """Train to epoch `until` of `EPOCHS`, as a caller that is killed there would have."""
    history = []
    for epoch in trainer.epochs(ROWS, LABELS, VALID, VALID_LABELS, epochs=EPOCHS):
        history.append((epoch.number, epoch.train, epoch.valid, epoch.learning_rate))
        if stopping.update(epoch.number, epoch.valid["loss"], trainer.kept_tensors) or epoch.number == until:
            break
    return history


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def weights_of(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.ndim > 1}


def penalised(model: nn.Module) -> StepParts:
    """Everything in its place of the step, drawing random numbers where it can."""

    def noisy(batch: Batch) -> Batch:
        return Batch((batch.inputs[0] + 0.1 * torch.randn_like(batch.inputs[0]),), batch.targets)

    return StepParts(
        transforms=[noisy],
        penalties=[l1(weights_of(model), {"0.weight": 0.01})],
        clipping=[clip_by_norm(0.5)],
        sharpness=0.05,
        constraints=[max_norm(1.0)],
    )


# What keeps a state of its own beside weights and optimizer, made anew for each trainer.
WAYS: dict[str, Callable[[nn.Module], dict[str, Any]]] = {
    "adam": lambda _: {"optimizer": "adam"},
    "nesterov": lambda _: {"optimizer": "nesterov"},
    "lamb": lambda _: {"optimizer": "lamb"},
    "performance": lambda _: {"schedule": "performance:0.3,0", "warmup": 0.0},
    "1cycle": lambda _: {"schedule": "1cycle", "optimizer": "momentum", "warmup": 0.0},
    "piecewise": lambda _: {"schedule": "piecewise:2,0.1,4,0.01"},
    "ema": lambda _: {"average": ExponentialAverage(0.9)},
    "swa": lambda _: {"average": StochasticWeightAverage(3)},
    "switch": lambda _: {"switches": {4: OptimizerSettings("momentum", 0.01)}},
    "accumulate": lambda _: {"accumulate": 3},
    "alternate": lambda _: {"alternate": True},
    "parts": lambda model: {"parts": penalised(model)},
}


@pytest.mark.parametrize("killed_after", range(1, EPOCHS))
@pytest.mark.parametrize("way", WAYS)
def test_killed_and_resumed_equals_uninterrupted(killed_after: int, way: str, tmp_path: Path) -> None:
    common = {"learning_rate": 0.05, "schedule": "cosine", "warmup": 1.0, "batch_size": 16, "seed": 3}

    def trainer_of(model: nn.Module) -> Trainer:
        return Trainer(model, Classification(3), **grouped(**{**common, **WAYS[way](model)}))

    whole_model, killed_model = network(), network()
    whole, killed = trainer_of(whole_model), trainer_of(killed_model)
    whole_stopping, killed_stopping = EarlyStopping(2), EarlyStopping(2)
    history = train(whole_model, whole, whole_stopping, EPOCHS)
    first = train(killed_model, killed, killed_stopping, killed_after)
    torch.save({"trainer": killed.state_dict(), "stopping": killed_stopping.state_dict()}, tmp_path / "state.pt")

    torch.manual_seed(99)
    torch.rand(7)
    model = nn.Sequential(*(module for module in network()))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.3)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed, stopping = trainer_of(model), EarlyStopping(2)
    assert resumed.load_state_dict(state["trainer"]) == []
    stopping.load_state_dict(state["stopping"])
    stopped_before = len(first) < killed_after or stopping.waited >= 2
    assert first + ([] if stopped_before else train(model, resumed, stopping, EPOCHS)) == history
    assert stopping.best_epoch == whole_stopping.best_epoch
    same(model.state_dict(), whole_model.state_dict())
    stopping.restore(model)
    whole_stopping.restore(whole_model)
    same(model.state_dict(), whole_model.state_dict())


def test_unfreezing_keeps_the_state_of_what_was_training() -> None:
    def run(killed: bool) -> tuple[dict[str, Tensor], list[str]]:
        model = network()
        freeze(model, "0,1")
        settings: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.05, "batch_size": 16, "seed": 3}
        trainer = Trainer(model, Classification(3), **grouped(**settings))
        train(model, trainer, EarlyStopping(None), 2)
        unfreeze(model)
        state = trainer.state_dict()
        trainer = Trainer(model, Classification(3), **grouped(**settings))
        fresh = trainer.load_state_dict(state)
        train(model, trainer, EarlyStopping(None), 4)
        if killed:
            state, model = trainer.state_dict(), network()
            trainer = Trainer(model, Classification(3), **grouped(**settings))
            assert trainer.load_state_dict(state) == []
        train(model, trainer, EarlyStopping(None), EPOCHS)
        return model.state_dict(), fresh

    whole, fresh = run(killed=False)
    assert fresh == ["0.weight", "0.bias", "1.weight", "1.bias"]
    same(run(killed=True)[0], whole)


def test_state_is_a_copy_and_holds_no_frozen_tensor() -> None:
    model = network()
    freeze(model, "0,1")
    trainer = Trainer(model, Classification(3), loop=LoopSettings(batch_size=16))
    train(model, trainer, EarlyStopping(None), 1)
    state = trainer.state_dict()
    assert set(state["weights"]) == set(state["optimizer"]) == {"4.weight", "4.bias"}
    before = {name: tensor.clone() for name, tensor in state["weights"].items()}
    train(model, trainer, EarlyStopping(None), 2)
    same(state["weights"], before)


def test_live_buffers_belong_to_the_state() -> None:
    model = network()
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} < set(live_tensors(model))
    freeze(model, "0")
    assert "1.running_mean" in live_tensors(model)
    freeze(model, "1")
    assert not {name for name in live_tensors(model) if name.startswith("1.")}


def test_another_optimizer_starts_fresh_on_the_same_weights() -> None:
    model = network()
    first = Trainer(model, Classification(3), optimization=OptimizerSettings("adam"), loop=LoopSettings(batch_size=16))
    train(model, first, EarlyStopping(None), 2)
    second = Trainer(
        model, Classification(3), optimization=OptimizerSettings("momentum"), loop=LoopSettings(batch_size=16)
    )
    assert second.load_state_dict(first.state_dict()) == [name for name, _ in model.named_parameters()]
    assert [number for number, *_ in train(model, second, EarlyStopping(None), 4)] == [3, 4]


def test_a_state_of_another_model_is_refused_and_changes_nothing() -> None:
    trainer = Trainer(network(), Classification(3), loop=LoopSettings(batch_size=16))
    other = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(RunError, match=r"0\.weight is \(16, 6\) in the state and \(8, 6\)"):
        Trainer(other, Classification(3)).load_state_dict(trainer.state_dict())
    with pytest.raises(RunError, match=r"'1\.weight'"):
        Trainer(nn.Sequential(nn.Linear(6, 16)), Classification(3)).load_state_dict(trainer.state_dict())
    same(other.state_dict(), before)


class Jittered(nn.Module):
    """Draws from Python's and NumPy's global generators, as model code from elsewhere does."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, rows: Tensor) -> Tensor:
        scale = 1 + random.random() + np.random.random()  # noqa: NPY002 - that is the point
        output: Tensor = self.network(rows * scale if self.training else rows)
        return output


def test_a_forward_that_draws_from_other_generators_is_resumed_exactly() -> None:
    whole, killed, resumed = (Jittered() for _ in range(3))
    random.seed(1)
    history = train(whole, Trainer(whole, Classification(3)), EarlyStopping(None), EPOCHS)
    random.seed(2)
    trainer = Trainer(killed, Classification(3))
    train(killed, trainer, EarlyStopping(None), 2)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    again = Trainer(resumed, Classification(3))
    again.load_state_dict(trainer.state_dict())
    assert train(resumed, again, EarlyStopping(None), EPOCHS) == history[2:]
    same(dict(resumed.state_dict()), dict(whole.state_dict()))

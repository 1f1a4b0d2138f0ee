"""Snapshots: which epochs are kept, that models come back as they were, and what cannot be."""

import json
from pathlib import Path

import pytest
import torch

from reuse.errors import RunError, UsageError
from reuse.finetuning.finetune import finetune
from reuse.optim.schedules import choose_schedule
from reuse.reporting import Epoch
from reuse.runs.folder import RunFolder
from reuse.runs.models import load_model
from reuse.runs.snapshots import (
    forget_snapshots,
    kept_epochs,
    load_snapshot,
    save_snapshot,
    snapshot_epochs,
    snapshot_models,
)


def test_every_so_many_epochs() -> None:
    assert set(kept_epochs(0, 10)) == set()
    assert set(kept_epochs(1, 3)) == {1, 2, 3}
    assert set(kept_epochs(4, 10)) == {4, 8}
    assert set(kept_epochs(4, 10, schedule=lambda step: 1.0)) == {4, 8}
    assert set(kept_epochs(4, 10, schedule="cosine")) == {4, 8}


@pytest.mark.parametrize("text", ["cosine:5", "cosine:cycles=5"])
def test_every_cycle_where_the_rate_restarts(text: str) -> None:
    assert set(kept_epochs(1, 50, schedule=text, steps_per_epoch=7)) == {10, 20, 30, 40, 50}
    assert set(kept_epochs(2, 50, schedule=text, steps_per_epoch=7)) == {20, 40}


@pytest.mark.parametrize(("epochs", "cycles", "warmup"), [(20, 4, 0.0), (22, 4, 0.0), (10, 3, 1.0), (9, 2, 0.5)])
def test_cycles_end_where_the_schedule_has_its_minima(epochs: int, cycles: int, warmup: float) -> None:
    steps, text = 6, f"cosine:{cycles}"
    schedule = choose_schedule(text, steps_per_epoch=steps, epochs=epochs, warmup_epochs=warmup)
    assert schedule is not None
    rates = [schedule.multiplier(step, epochs * steps) for step in range(epochs * steps)]
    rise = round(warmup * steps)
    last = [step for step in range(rise, len(rates) - 1) if rates[step + 1] > rates[step]] + [len(rates) - 1]
    assert len(last) == cycles
    expected = {(step + 1) // steps for step in last}
    assert set(kept_epochs(1, epochs, schedule=text, warmup=warmup, steps_per_epoch=steps)) == expected


@pytest.mark.parametrize(
    ("every", "schedule", "said"),
    [
        (-1, "constant", "snapshots is -1"),
        (11, "constant", "the training has 10 epochs"),
        (3, "cosine:2", "has 2 cycles of schedule 'cosine:2'"),
    ],
)
def test_numbers_that_keep_nothing_are_refused(every: int, schedule: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        kept_epochs(every, 10, schedule=schedule)


@pytest.fixture
def run() -> RunFolder:
    return RunFolder(Path(finetune("mlp:6,5", data="iris", epochs=2, out="run", norm="batch").run))


def test_models_come_back_as_they_were_kept(run: RunFolder) -> None:
    trained = trained_weights(run)
    epoch = Epoch(10, {"loss": 1.0}, {"loss": 2.0, "accuracy": 0.5}, 0.1, 0.01)
    other = {name: tensor + 1 for name, tensor in trained.items()}
    save_snapshot(run, epoch, other)
    save_snapshot(run, Epoch(2, {}, {}, 0.1, 0.01), trained)
    assert (run.path / "snapshots" / "epoch-0010.safetensors").exists()
    assert snapshot_epochs(run) == [2, 10]
    assert json.loads((run.path / "snapshots" / "epoch-0010.json").read_text()) == {
        "epoch": 10,
        "train": {"loss": 1.0},
        "valid": {"loss": 2.0, "accuracy": 0.5},
        "learning_rate": 0.01,
    }
    model = load_snapshot(run.path, 10)
    assert not model.training
    torch.testing.assert_close(dict(model.network.state_dict()), other, rtol=0, atol=0)
    first, second = snapshot_models(run.path)
    torch.testing.assert_close(dict(first.network.state_dict()), trained, rtol=0, atol=0)
    assert second.classes == first.classes == model.classes
    assert first.values(torch.zeros(2, 4)).shape == (2, 3)


def trained_weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return dict(load_model(run.path).network.state_dict())


def test_snapshots_of_epochs_that_are_trained_again_are_forgotten(run: RunFolder) -> None:
    for number in (1, 2, 3):
        save_snapshot(run, Epoch(number, {}, {}, 0.1, 0.01), {"a": torch.ones(1)})
    forget_snapshots(run, 1)
    assert snapshot_epochs(run) == [1]
    assert [path.name for path in sorted((run.path / "snapshots").iterdir())] == [
        "epoch-0001.json",
        "epoch-0001.safetensors",
    ]


def test_what_is_not_there_is_named(run: RunFolder) -> None:
    with pytest.raises(RunError, match="no snapshots: train with snapshots=10"):
        snapshot_models(run.path)
    save_snapshot(run, Epoch(2, {}, {}, 0.1, 0.01), {})
    with pytest.raises(RunError, match="no snapshot of epoch 3: there are those of 2"):
        load_snapshot(run.path, 3)

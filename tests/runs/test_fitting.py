"""Fitting: the best weights at the end whatever ended it, the history, and interruptions that say how to go on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from listening import Listener
from reuse.data.rows import Resident
from reuse.errors import ReuseError
from reuse.layers.freezing import freeze
from reuse.objectives.supervised import Classification
from reuse.optim.groups import OptimizerSettings
from reuse.reporting import Epoch
from reuse.runs.checkpoints import load_checkpoint, save_start
from reuse.runs.fitting import EpochRange, Fitted, Interrupted, fit, interruptible
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest
from reuse.training.settings import LoopSettings
from reuse.training.stopping import EarlyStopping
from reuse.training.trainer import Trainer

DRAW = torch.Generator().manual_seed(0)
TRAIN = (Resident(torch.randn(40, 5, generator=DRAW)), torch.randint(3, (40,), generator=DRAW))
VALID = (Resident(torch.randn(20, 5, generator=DRAW)), torch.randint(3, (20,), generator=DRAW))


class WeightsListener(Listener):
    """Keeps the weights after every epoch too."""

    def __init__(self, model: nn.Module, interrupt: int = 0) -> None:
        super().__init__(interrupt)
        self.model = model
        self.weights: dict[int, dict[str, Tensor]] = {}
        self.valid: dict[int, float] = {}

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        self.weights[epoch.number] = {n: t.detach().clone() for n, t in self.model.state_dict().items()}
        self.valid[epoch.number] = epoch.valid.get("loss", 0.0)
        super().epoch(epoch, epochs)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))


def fitted(path: str = "run", **changes: Any) -> tuple[Fitted, WeightsListener, RunFolder]:
    """Fit random labels, on which the validation loss soon rises."""
    model = changes.pop("model", None) or network()
    listener = WeightsListener(model, changes.pop("interrupt", 0))
    run = RunFolder.open(path) if changes.get("resume") else RunFolder.create("finetune", path)
    if not changes.get("resume"):
        save_start(run, model)
        run.write_manifest(Manifest("finetune"))
    gap = changes.pop("max_gap", None)
    trainer = Trainer(
        model,
        Classification(3),
        optimization=OptimizerSettings("adam", 0.05),
        loop=LoopSettings(batch_size=16, train_metrics=gap is not None),
    )
    stopping = EarlyStopping(changes.pop("patience", None), max_gap=gap)
    settings = {"valid": VALID, "epochs": EpochRange(changes.pop("epochs", 8)), "stopping": stopping, **changes}
    return fit(trainer, TRAIN, run=run, reporter=listener, **settings), listener, run


def best(listener: Listener) -> int:
    return min(listener.valid, key=lambda epoch: listener.valid[epoch])


def assert_holds(model: nn.Module, weights: dict[str, Tensor]) -> None:
    torch.testing.assert_close(dict(model.state_dict()), weights, rtol=0, atol=0)


@pytest.mark.parametrize("patience", [None, 100, 3])
def test_the_best_weights_come_back_whatever_ended_the_training(patience: int | None) -> None:
    result, listener, _ = fitted(patience=patience)
    assert result.best_epoch == best(listener) < result.epochs, "the labels are random, so this overfits"
    assert result.stopped_early == (patience == 3)
    assert result.epochs == (result.best_epoch + 3 if patience == 3 else 8)
    assert_holds(listener.model, listener.weights[result.best_epoch])


def test_without_validation_rows_the_last_weights_stay() -> None:
    result, listener, run = fitted(valid=None, patience=1)
    assert (result.epochs, result.best_epoch, result.stopped_early) == (8, 8, False)
    assert_holds(listener.model, listener.weights[8])
    assert all(line["valid"] == {} for line in run.history())


def test_the_history_has_a_line_an_epoch() -> None:
    _, listener, run = fitted()
    history = run.history()
    assert [line["epoch"] for line in history] == list(range(1, 9))
    assert [line["valid"]["loss"] for line in history] == list(listener.valid.values())
    assert all(line["train"]["loss"] > 0 and line["learning_rate"] == 0.05 for line in history)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_validation_loss_that_is_not_finite_is_no_success(value: float) -> None:
    rows = torch.zeros(20, 5)
    rows[3, 2] = value
    with pytest.raises(ReuseError, match=r"the validation loss is (nan|inf) after epoch 1: lower the learning rate"):
        fitted(valid=(Resident(rows), VALID[1]))
    assert RunFolder(Path("run")).history() == []


def test_an_interruption_saves_the_last_whole_epoch_and_says_how_to_go_on() -> None:
    with pytest.raises(Interrupted, match=r"interrupted after epoch 4 of 8; go on with --resume run$"):
        fitted(interrupt=5)
    saved = load_checkpoint(RunFolder(Path("run")))
    assert saved is not None
    whole, listener, whole_run = fitted("whole")
    assert saved[0]["epoch"] == 4
    for name, tensor in saved[0]["weights"].items():
        assert torch.equal(tensor, listener.weights[4][name])
    resumed, _, run = fitted(resume=True)
    assert (resumed.epochs, resumed.best_epoch) == (whole.epochs, whole.best_epoch)
    assert [line["valid"] for line in run.history()] == [line["valid"] for line in whole_run.history()]


def test_interrupted_before_the_first_epoch_ends() -> None:
    with pytest.raises(Interrupted, match="interrupted after epoch 0 of 8"):
        fitted(interrupt=1)
    resumed, _, run = fitted(resume=True)
    assert resumed.epochs == len(run.history()) == 8


def test_a_run_that_had_stopped_early_is_not_trained_on_but_for_more_patience() -> None:
    first, _, _ = fitted(patience=3, epochs=20)
    again, listener, _ = fitted(patience=3, epochs=20, resume=True)
    assert (again.epochs, again.best_epoch, again.stopped_early) == (first.epochs, first.best_epoch, True)
    assert listener.weights == {}
    more, listener, _ = fitted(patience=5, epochs=20, resume=True)
    assert more.epochs >= first.epochs + 2
    assert min(listener.weights) == first.epochs + 1


def test_a_run_that_a_gap_had_ended_is_not_trained_on_but_for_a_wider_one() -> None:
    first, listener, run = fitted(max_gap=0.5, epochs=20)
    gaps = [line["valid"]["loss"] / line["train"]["eval_loss"] - 1 for line in run.history()]
    assert [gap > 0.5 for gap in gaps] == [False] * (first.epochs - 1) + [True]
    again, listener, _ = fitted(max_gap=0.5, epochs=20, resume=True)
    assert (again.epochs, again.best_epoch, again.stopped_early) == (first.epochs, first.best_epoch, True)
    assert listener.weights == {}
    more, listener, _ = fitted(max_gap=gaps[-1] + 0.5, epochs=20, resume=True)
    assert more.epochs > first.epochs
    assert min(listener.weights) == first.epochs + 1


def test_a_best_epoch_with_other_frozen_layers_is_forgotten_aloud() -> None:
    first, _, _ = fitted(epochs=6)
    model = network()
    freeze(model, "0,1")
    result, listener, _ = fitted(model=model, epochs=7, resume=True)
    assert first.best_epoch < 6
    assert result.best_epoch == 7
    assert listener.lines == ["other layers are frozen now: the best epoch is sought anew after epoch 6"]


@pytest.mark.parametrize("norms", [0, 1])
def test_precise_statistics_say_what_they_changed(norms: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), *[nn.BatchNorm1d(4) for _ in range(norms)], nn.Linear(4, 3))
    _, listener, _ = fitted(model=model, epochs=1, precise_norm=True)
    changed = "computed the statistics of 1 batch norm anew over all training rows"
    assert listener.lines == [changed if norms else "precise_norm changed nothing: no batch norm trains"]


def test_whatever_is_interrupted_says_how_to_go_on() -> None:
    run = RunFolder.create("finetune", "run")
    with pytest.raises(Interrupted, match=r"^interrupted; go on with --resume run$"), interruptible(run):
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), interruptible(run):
        _ = 1 / 0

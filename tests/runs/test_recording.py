"""What a run records beside its history, in one go, interrupted, and when a loss becomes NaN."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finished_runs import history
from grouped import grouped
from listening import Listener
from reuse.data.rows import Resident
from reuse.errors import ReuseError, UsageError
from reuse.finetuning.finetune import finetune
from reuse.objectives.supervised import Classification
from reuse.optim.averaging import ExponentialAverage
from reuse.pretraining.pretrain import pretrain
from reuse.runs.checkpoints import save_start
from reuse.runs.fitting import EpochRange, Interrupted, fit
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest
from reuse.runs.recording import Recording
from reuse.runs.snapshots import snapshot_epochs, snapshot_models
from reuse.runs.tensor_files import load_tensors_file
from reuse.training.stopping import EarlyStopping
from reuse.training.trainer import Trainer

DRAW = torch.Generator().manual_seed(0)
TRAIN = (Resident(torch.randn(40, 5, generator=DRAW)), torch.randint(3, (40,), generator=DRAW))
ALL = Recording(watch=True, tensorboard=find_spec("tensorboard") is not None, snapshots=2)


def dying() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    model.get_parameter("1.bias").data[:4] = -50.0
    return model


def fitted(
    path: str, interrupt: int = 0, resume: bool = False, **changes: Any
) -> tuple[RunFolder, Listener, nn.Module]:
    model, listener = changes.pop("model", None) or dying(), Listener(interrupt)
    run = RunFolder.open(path) if resume else RunFolder.create("finetune", path)
    if not resume:
        save_start(run, model)
        run.write_manifest(Manifest("finetune"))
    trainer = Trainer(model, Classification(3), **grouped(batch_size=16, **changes.pop("trainer", {})))
    settings = {
        "stopping": EarlyStopping(None),
        "epochs": EpochRange(changes.pop("epochs", 6)),
        "recording": ALL,
        **changes,
    }
    fit(trainer, TRAIN, None, run=run, reporter=listener, resume=resume, **settings)
    return run, listener, model


def test_advice_is_said_once_and_figures_go_into_the_history() -> None:
    run, listener, _ = fitted("run")
    assert listener.lines == ["2: 50 % of units are zero for every training sample; try leaky ReLU or a smaller rate"]
    history = run.history()
    assert [len(line["advice"]) for line in history] == [1, 0, 0, 0, 0, 0]
    assert all(line["layers"]["2"] == {"dead": 0.5} for line in history)
    assert all(line["layers"]["0"].keys() == {"gradient", "weight", "change"} for line in history)
    assert all(line["layers"]["0"]["change"] > 0 for line in history)


def test_recording_changes_nothing_that_is_trained() -> None:
    _, _, recorded = fitted("recorded")
    run, listener, plain = fitted("plain", recording=None)
    torch.testing.assert_close(recorded.state_dict(), plain.state_dict(), rtol=0, atol=0)
    assert listener.lines == []
    assert {path.name for path in run.path.iterdir()} == {"run.json", "history.jsonl", "checkpoint"}
    assert "layers" not in run.history()[0]


def test_what_is_interrupted_and_resumed_is_recorded_as_if_it_had_not_been() -> None:
    whole, _, _ = fitted("whole")
    with pytest.raises(Interrupted):
        fitted("run", interrupt=4)
    assert snapshot_epochs(RunFolder(Path("run"))) == [2, 4], "the fourth was kept and is trained again"
    run, listener, _ = fitted("run", resume=True)
    assert listener.lines == [], "what was said before the interruption is not said again"
    assert history(run.path) == history(whole.path)
    assert snapshot_epochs(run) == snapshot_epochs(whole) == [2, 4, 6]
    for epoch in (2, 4, 6):
        name = f"snapshots/epoch-{epoch:04d}.safetensors"
        torch.testing.assert_close(
            load_tensors_file(run.path / name), load_tensors_file(whole.path / name), rtol=0, atol=0
        )


def test_tensorboard_shows_every_epoch_of_a_resumed_run_once() -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with pytest.raises(Interrupted):
        fitted("run", interrupt=4)
    run, _, _ = fitted("run", resume=True)
    board = accumulators.EventAccumulator(str(run.path / "tensorboard"), {"scalars": 0, "histograms": 0}).Reload()
    losses = [(event.step, event.value) for event in board.Scalars("train/loss")]
    assert losses == [(line["epoch"], pytest.approx(line["train"]["loss"])) for line in run.history()]
    assert [event.step for event in board.Histograms("weights/3.weight")] == [1, 2, 3, 4, 5, 6]


def test_a_snapshot_holds_the_average_that_was_measured() -> None:
    trainer = {"average": ExponentialAverage(0.99), "learning_rate": 0.05}
    run, _, model = fitted("run", trainer=trainer, recording=Recording(snapshots=6))
    kept = load_tensors_file(run.path / "snapshots/epoch-0006.safetensors")
    average: dict[str, Tensor] = trainer["average"].average  # type: ignore[attr-defined]
    torch.testing.assert_close(kept["0.weight"], average["0.weight"])
    assert kept.keys() == {*dict(model.named_parameters()), *dict(model.named_buffers())}


def test_a_loss_that_becomes_nan_names_the_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(
        ReuseError, match=r"nan in epoch \d, step \d of 3, first in [02]: its .*: try a lower"
    ) as failed:
        fitted("run", model=model, trainer={"optimizer": "sgd", "learning_rate": 1e18})
    assert failed.value.exit_code == 1


def test_the_settings_reach_the_run() -> None:
    pytest.importorskip("tensorboard")
    settings: dict[str, Any] = {"data": "digits", "epochs": 4, "schedule": "cosine:2", "early_stopping": False}
    result = pretrain("supervised", model="mlp:12", watch=True, tensorboard=True, snapshots=1, out="first", **settings)
    run = RunFolder(Path(result.run))
    assert snapshot_epochs(run) == [2, 4]
    assert json.loads((run.path / "snapshots" / "epoch-0004.json").read_text())["valid"] == run.history()[3]["valid"]
    assert list((run.path / "tensorboard").iterdir())
    assert set(run.history()[0]["layers"]) == {"hidden1", "output"}
    tuned = finetune(run.path, freeze="hidden1", watch=True, snapshots=2, out="second", **settings)
    assert set(RunFolder(Path(tuned.run)).history()[0]["layers"]) == {"output"}, "what is cached is not looked at"
    (member,) = snapshot_models(tuned.run)
    torch.testing.assert_close(
        member.network.get_parameter("hidden1.linear.weight"),
        load_tensors_file(run.path / "weights.safetensors")["hidden1.linear.weight"],
    )
    assert json.loads((run.path / "result.json").read_text())["settings"]["snapshots"] == 1


def test_what_cannot_be_recorded_is_refused_before_a_run_begins() -> None:
    with pytest.raises(UsageError, match="the training has 4 epochs"):
        pretrain(epochs=4, snapshots=5, out="run")
    assert not Path("run").exists()

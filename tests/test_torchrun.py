"""Several processes against one: the same losses, one run folder, and nobody left waiting."""

import importlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import reuse

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {"epochs": 3, "precision": "float64", "device": "cpu", "batch_size": 50, "seed": 1}
OBJECTIVE: dict[str, Any] = {"objective": "supervised", "data": "digits", "model": "mlp:20,10"}
TUNING: dict[str, Any] = {**SETTINGS, "freeze": ["hidden1"], "data": "digits", "labels": 301, "compare": False}
CLOSE = {"rel": 0, "abs": 1e-6}

TOGETHER = """
import json, sys
import reuse
pretraining, tuning = json.loads(sys.argv[1]), json.loads(sys.argv[2])
reuse.pretrain(**pretraining, parallel="fsdp", optimizer="nesterov", clip_norm=0.5, l2=0.01, out="fsdp")
for kind in ("ddp", "fsdp"):
    result = reuse.finetune("source", **tuning, parallel=kind, cache_dir=f"cache-{kind}", out=f"tuned-{kind}")
    assert result.cache["rows"] == {"computed": sum(result.sizes.values()), "found": 0}
from reuse.features import choosing
from reuse.planning.options import Work
measured = choosing.measure_work
slow = Work(frozen=1.0, suffix=0.001, whole=1.001, measured=0.001)
choosing.measure_work = lambda parts, *_: (slow, {node.name: 1.0 for node in parts.prefix.graph.nodes})
views = {"augment": "shift:1", "views": 2, "refresh_views": 2, "epochs": 6}
assert reuse.finetune("source", **tuning | views, cache_dir="cache-views", out="views").cache
choosing.measure_work = measured
reuse.finetune("source", **tuning | {"epochs": 5}, resume="begun", parallel="fsdp")
reuse.finetune("source", **tuning, unfreeze="1:all", accumulate=3, norm="batch", random_weights=True, out="batch")
settling = tuning | {"freeze": [], "epochs": 8, "auto_freeze": 100, "learning_rate": 0.003}
reuse.finetune("source", **settling, out="settled")
from alternating import Alternating
unlabelled = pretraining | {"objective": Alternating()}
reuse.pretrain(**unlabelled, accumulate=2, clip_norm=0.5, out="alternating")
reuse.pretrain(**unlabelled | {"objective": "byol"}, out="byol")
from unevenly import UNEVEN
for name, settings in UNEVEN.items():
    reuse.pretrain(**settings, **json.loads(sys.argv[3]), out=name)
for name in ("byol", "gan"):
    try:
        reuse.pretrain(**unlabelled | {"objective": name}, parallel="fsdp", out="undivided")
    except reuse.UsageError as error:
        print(error)
for settings in ({"out": "batch"}, {"auto_freeze": True, "freeze": [], "parallel": "fsdp", "out": "divided"}):
    try:
        reuse.finetune("source", **tuning | settings)
    except reuse.UsageError as error:
        print(error)
"""

ALTERNATING = """
import reuse
from reuse.objectives.autoencoder import Reconstruction

class Alternating(reuse.Objective):
    build = Reconstruction.build
    monitor = None

    def turns(self):
        losses = Reconstruction().losses
        return reuse.Turn(losses, ("decoder",)), reuse.Turn(losses, ("encoder",), rate=0.5)
"""

UNEVENLY = """
import numpy as np
from reuse.objectives.pseudo_labels import PseudoLabels

draw = np.random.default_rng(0)
tokens = draw.integers(1, 9, (120, 6))
tokens[draw.random(120) < 0.5, 2:] = 0
UNEVEN = {
    "weights": {"objective": "supervised", "data": "digits", "model": "mlp:20", "class_weights": "0=9,1=0.1"},
    "pseudo": {"objective": PseudoLabels(3, confidence=0.2), "data": "digits", "model": "mlp:20"},
    "steps": {"objective": "next_step", "data": (tokens, None), "vocabulary": 9, "model": "gru:8"},
}
"""
"""Trainings whose losses are divided by other things than rows, of which one process has more than another."""

FAILS = """
import json, sys
import reuse
from reuse.distributed import LostProcessError
from reuse.training.trainer import Trainer
if sys.argv[2] == "1":
    whole = Trainer._average_buffers
    def broken(self):
        if self.epoch == 1:
            raise SystemExit("this process breaks in its second epoch")
        whole(self)
    Trainer._average_buffers = broken
try:
    reuse.pretrain(**json.loads(sys.argv[1]), out="lost")
except LostProcessError as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one process and then two have trained the same."""
    folder = tmp_path_factory.mktemp("runs")
    reuse.pretrain(**OBJECTIVE, **SETTINGS, out=folder / "source")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in {**OBJECTIVE, **SETTINGS}.items()][1:]
    launched = _torchrun(folder, "-m", "reuse", "pretrain", "supervised", *flags, "--json", "--out", "ddp")
    (folder / "printed.json").write_text(launched.stdout)
    (folder / "said").write_text(launched.stderr)
    reuse.finetune(folder / "source", **TUNING | {"epochs": 2}, cache_dir=folder / "cache", out=folder / "begun")
    (folder / "alternating.py").write_text(ALTERNATING)
    (folder / "unevenly.py").write_text(UNEVENLY)
    script = folder / "together.py"
    script.write_text(TOGETHER)
    launched = _torchrun(
        folder, script, json.dumps({**OBJECTIVE, **SETTINGS}), json.dumps(TUNING), json.dumps(SETTINGS)
    )
    (folder / "refused").write_text(launched.stdout)
    return folder


def test_two_processes_give_the_losses_of_one(folder: Path) -> None:
    _same(folder / "ddp", folder / "source")


def test_divided_parameters_give_the_same_losses_and_whole_weights(folder: Path, tmp_path: Path) -> None:
    reuse.pretrain(**OBJECTIVE, **SETTINGS, optimizer="nesterov", clip_norm=0.5, l2=0.01, out=tmp_path / "one")
    _same(folder / "fsdp", tmp_path / "one")
    ours, theirs = (reuse.load_model(run).network.state_dict() for run in (folder / "fsdp", tmp_path / "one"))
    assert {name: tensor.shape for name, tensor in ours.items()} == {n: tensor.shape for n, tensor in theirs.items()}
    assert all((ours[name] - theirs[name]).abs().max() < 1e-6 for name in ours)


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_frozen_layers_are_computed_once_each_process_its_part(folder: Path, tmp_path: Path, kind: str) -> None:
    one = reuse.finetune(folder / "source", **TUNING, cache_dir=tmp_path / "cache", out=tmp_path / "one")
    result = json.loads((folder / f"tuned-{kind}" / "result.json").read_text())
    assert one.cache is not None
    assert result["cache"]["rows"] == one.cache["rows"]
    segments = [*(folder / f"cache-{kind}").rglob("*.h5")]
    assert len(segments) == 2, "each process has published the rows that it computed"
    _same(folder / f"tuned-{kind}", tmp_path / "one")


@pytest.mark.usefixtures("cached_however_small")
def test_both_processes_read_the_same_versions_of_the_rows(folder: Path, tmp_path: Path) -> None:
    views = {"augment": "shift:1", "views": 2, "refresh_views": 2, "epochs": 6}
    reuse.finetune(folder / "source", **TUNING | views, cache_dir=tmp_path / "cache", out=tmp_path / "one")
    _same(folder / "views", tmp_path / "one")


def test_two_processes_go_on_with_what_one_began(folder: Path, tmp_path: Path) -> None:
    reuse.finetune(folder / "source", **TUNING | {"epochs": 5}, cache_dir=tmp_path / "cache", out=tmp_path / "one")
    _same(folder / "begun", tmp_path / "one")


def test_the_first_process_alone_prints_and_writes(folder: Path) -> None:
    printed = json.loads((folder / "printed.json").read_text())
    assert printed["epochs"] == 3
    assert "2 processes train together" in (folder / "said").read_text()
    assert [line["epoch"] for line in _history(folder / "ddp")] == [1, 2, 3]
    left = {path.name for path in (folder / "ddp").rglob("*")} - {path.name for path in (folder / "source").rglob("*")}
    assert left == set()


def test_batch_norm_and_phases_train_together_and_a_refusal_reaches_all(folder: Path) -> None:
    assert [phase["epoch"] for phase in json.loads((folder / "batch" / "result.json").read_text())["phases"]] == [1, 2]
    losses = [line["train"]["loss"] for line in _history(folder / "batch")]
    assert losses[-1] < losses[0]
    assert (folder / "refused").read_text().count("batch is in use") == 2
    assert (folder / "refused").read_text().count("auto_freeze needs a model that is whole") == 2


def test_two_processes_freeze_what_one_freezes(folder: Path, tmp_path: Path) -> None:
    settings = TUNING | {"freeze": [], "epochs": 8, "auto_freeze": 100, "learning_rate": 0.003}
    one = reuse.finetune(folder / "source", **settings, cache_dir=tmp_path / "cache", out=tmp_path / "one")
    together = json.loads((folder / "settled" / "result.json").read_text())
    assert len(one.phases) > 1
    assert [(p["epoch"], p["frozen"]) for p in together["phases"]] == [
        (p["epoch"], list(p["frozen"])) for p in one.phases
    ]
    _same(folder / "settled", tmp_path / "one")


def test_players_take_the_turns_that_they_take_in_one_process(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    objective = importlib.import_module("alternating").Alternating()
    settings = {**OBJECTIVE, **SETTINGS, "objective": objective, "accumulate": 2, "clip_norm": 0.5}
    reuse.pretrain(**settings, out=tmp_path / "one")
    _same(folder / "alternating", tmp_path / "one")


def test_losses_are_divided_by_what_all_processes_have(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    for name, settings in importlib.import_module("unevenly").UNEVEN.items():
        reuse.pretrain(**settings, **SETTINGS, out=tmp_path / name)
        _same(folder / name, tmp_path / name)


def test_teachers_follow_in_all_processes_and_divided_parameters_are_refused_them(folder: Path) -> None:
    assert len(_history(folder / "byol")) == SETTINGS["epochs"]
    assert (folder / "byol" / "teacher.safetensors").exists()
    for kind in ("Byol", "Adversarial"):
        assert (folder / "refused").read_text().count(f"{kind} works on whole parameters, and fsdp divides them") == 2
    assert not (folder / "undivided").exists()


def test_a_process_that_breaks_leaves_nobody_waiting(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text(FAILS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    arguments = json.dumps({**OBJECTIVE, **SETTINGS})
    processes = [
        subprocess.Popen(
            [sys.executable, script, arguments, rank],
            cwd=tmp_path,
            env=_environment() | where | {"RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    said = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1], said
    assert "process 0 lost the others" in said[0]
    assert f"--resume {Path('lost')}" in said[0]
    assert [line["epoch"] for line in _history(tmp_path / "lost")] == [1]
    assert (tmp_path / "lost" / "checkpoint" / "epoch-00001").is_dir()


def test_other_commands_are_for_one_process() -> None:
    environment = _environment() | {"RANK": "1", "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "reuse", "cache", "list"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("process 1: error: cache is for one process")


def _torchrun(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def _same(run: Path, other: Path) -> None:
    ours, theirs = _history(run), _history(other)
    assert len(ours) == len(theirs)
    for mine, one in zip(ours, theirs, strict=True):
        assert mine["train"]["loss"] == pytest.approx(one["train"]["loss"], **CLOSE)
        assert mine["valid"] == pytest.approx(one["valid"], **CLOSE)
    results = [json.loads((place / "result.json").read_text()) for place in (run, other)]
    assert results[0]["metrics"]["test"] == pytest.approx(results[1]["metrics"]["test"], **CLOSE)

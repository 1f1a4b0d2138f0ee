"""Boundaries between phases: what reads a cache takes the steps of what does not, and a kill there changes nothing."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from finished_runs import history, weights
from reuse.features import filling
from reuse.finetuning.finetune import finetune
from reuse.pretraining.pretrain import pretrain
from reuse.runs import checkpoints
from reuse.runs.folder import RunFolder
from reuse.runs.results import Result
from reuse.training.step import Step

RANDOM = np.random.default_rng(0)
X = RANDOM.random((70, 9))
Y = (3 * X[:, 0]).astype(int)
EPOCHS = 6
STEPS = 2  # an epoch: 44 rows in batches of 32

ADAM: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.01, "schedule": "cosine"}
MOMENTUM: dict[str, Any] = {"optimizer": "nesterov", "learning_rate": 0.05, "weight_decay": 0.01, "clip_norm": 1.0}

SCHEMES: dict[str, dict[str, Any]] = {
    "two frontiers": {"freeze": "hidden1,hidden2", "unfreeze": "2:hidden2,4:all"},
    "three frontiers": {"freeze": "hidden1,hidden2,hidden3", "unfreeze": "1:hidden3,3:hidden2,4:all"},
    "from the bottom": {"freeze": "hidden1,hidden2", "unfreeze": "2:hidden1,4:all"},
    "settling": {"auto_freeze": 80},
    "settling above what is frozen": {"freeze": "hidden1", "auto_freeze": 100},
}
"""How layers freeze or begin to train, and so which frontiers there are."""

pytestmark = pytest.mark.usefixtures("cached_however_small", "source")


@pytest.fixture
def source() -> None:
    pretrain(data=(X, None), model="mlp:12,10,8", norm="batch", precision="float64", epochs=2, out="source")


def tuned(out: str, **settings: Any) -> Result:
    given = {"epochs": EPOCHS, "precision": "float64", "early_stopping": False, "cache_dir": f"cache-{out}"}
    return finetune("source", data=(X, Y), out=out, **{**given, **settings})


# Step by step


def weights_of_steps(patch: pytest.MonkeyPatch, out: str, **settings: Any) -> tuple[Result, list[dict[str, Tensor]]]:
    """Return what a run came to, and all its weights and buffers after each step."""
    seen: list[dict[str, Tensor]] = []
    take = Step.__call__

    def recorded(self: Step, *arguments: Any) -> Tensor:
        loss = take(self, *arguments)
        seen.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        return loss

    with patch.context() as inner:
        inner.setattr(Step, "__call__", recorded)
        return tuned(out, **settings), seen


@pytest.mark.parametrize("optimizer", [ADAM, MOMENTUM], ids=["adam", "momentum"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_cached_takes_the_steps_of_uncached(
    scheme: str, optimizer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SCHEMES[scheme], **optimizer}
    cached, ours = weights_of_steps(monkeypatch, "cached", **settings)
    plain, theirs = weights_of_steps(monkeypatch, "plain", **settings, cache=False)
    assert len(ours) == len(theirs) == EPOCHS * STEPS
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert cached.cache is not None
    assert plain.cache is None
    assert len(cached.phases) > 1
    assert [(p["epoch"], p["frozen"]) for p in cached.phases] == [(p["epoch"], p["frozen"]) for p in plain.phases]
    for split, metrics in cached.metrics.items():
        assert metrics == pytest.approx(plain.metrics[split], rel=1e-9)


# Killed


Tape = list[str]


def record(patch: pytest.MonkeyPatch, tape: Tape, kill_at: int | None = None) -> None:
    """Note every step, rename and batch of frozen layers, and kill this process before the one of a number."""

    def noted(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def note_and_do(*arguments: Any, **keywords: Any) -> Any:
            about = f" {Path(arguments[1]).name}" if name == "rename" else ""
            tape.append(name + about)
            if len(tape) - 1 == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments, **keywords)

        return note_and_do

    patch.setattr(Step, "__call__", noted("step", Step.__call__))
    patch.setattr(Path, "replace", noted("rename", Path.replace))
    patch.setattr(filling, "run_frozen", noted("compute", filling.run_frozen))


def boundary(tape: Tape, epoch: int) -> list[int]:
    """Return moments around the end of an epoch: one of each kind, from its last step to the second step after it."""
    steps = [number for number, what in enumerate(tape) if what == "step"]
    last, second = steps[epoch * STEPS - 1], steps[epoch * STEPS + 1]
    kinds = {tape[number]: number for number in range(second, last, -1)}  # the first of each kind
    computed = [number for number in range(last, second) if tape[number] == "compute"]
    return sorted({last, second, *kinds.values(), *computed[1:2]})


def killed(work: Callable[[], object]) -> bool:
    """Run `work` in a forked child and say whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def assert_same(run: str, whole: str) -> None:
    assert history(run) == history(whole)
    ours, theirs = weights(run), weights(whole)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    results = [RunFolder(Path(path)).result() or {} for path in (run, whole)]
    for entry in ("metrics", "epochs", "best_epoch", "phases", "frozen", "frontier"):
        assert results[0][entry] == results[1][entry], entry


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["disk", "memory"])
@pytest.mark.parametrize("scheme", ["two frontiers", "three frontiers", "settling"])
def test_killed_at_a_boundary_and_resumed_is_uninterrupted(
    scheme: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    settings = {**SCHEMES[scheme], **(ADAM if kind == "disk" else MOMENTUM), "cache_kind": kind}
    tape: Tape = []
    with monkeypatch.context() as patch:
        record(patch, tape)
        whole = tuned("whole", **settings)
    ends = [phase["epoch"] - 1 for phase in whole.phases[1:]]
    moments = sorted({moment for epoch in ends for moment in boundary(tape, epoch)})
    for moment in moments:
        run = f"run-{moment}"

        def work(moment: int = moment, run: str = run) -> None:
            with monkeypatch.context() as patch:
                record(patch, [], kill_at=moment)
                tuned(run, **settings)

        assert killed(work), tape[moment]
        finetune(resume=run, data=(X, Y))
        assert_same(run, "whole")

"""The third promise: a run that was interrupted or killed and resumed is the run that was not, bit for bit."""

import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from finished_runs import history, weights
from listening import Listener
from reuse import build, load, load_model
from reuse.errors import RunError, UsageError
from reuse.features import choosing
from reuse.finetuning.finetune import finetune
from reuse.pretraining.pretrain import pretrain
from reuse.runs import checkpoints
from reuse.runs.checkpoints import FOLDER
from reuse.runs.fitting import Interrupted
from reuse.runs.folder import RunFolder
from reuse.runs.results import Result
from reuse.training.step import Step

ROWS = 70
RANDOM = np.random.default_rng(0)
X = RANDOM.random((ROWS, 9)).astype(np.float32)
Y = np.arange(ROWS) % 3
EPOCHS = 6

NETWORK: dict[str, Any] = {"norm": "batch", "dropout": 0.3}
ADAM: dict[str, Any] = {"optimizer": "adam", "schedule": "cosine", "warmup": 1.0, "learning_rate": 0.01}
MOMENTUM: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.05, "weight_decay": 0.01}


pytestmark = pytest.mark.usefixtures("cached_however_small")


def pretrained(**settings: Any) -> Result:
    return pretrain(**{"data": (X, Y), "model": "mlp:12,10,8", "epochs": EPOCHS, **NETWORK, **settings})


def finetuned(**settings: Any) -> Result:
    source = {} if "resume" in settings else {"source": "source", "freeze": "hidden1,hidden2"}
    return finetune(**{"data": (X, Y), "epochs": EPOCHS, **source, **settings})


@pytest.fixture
def source() -> None:
    pretrained(epochs=2, out="source")


def assert_same(run: str, whole: str) -> None:
    """Two runs left the same history, the same weights bit for bit, and the same metrics."""
    assert history(run) == history(whole)
    names = [path.name for path in Path(whole).glob("*.safetensors")]
    assert "weights.safetensors" in names
    for name in names:
        torch.testing.assert_close(load_file(Path(run) / name), load_file(Path(whole) / name), rtol=0, atol=0)
    results = [RunFolder(Path(path)).result() for path in (run, whole)]
    assert results[0] is not None
    assert results[1] is not None
    entries = ("metrics", "epochs", "best_epoch", "phases", "frozen", "restored", "fresh", "frontier", "sizes")
    for entry in (*entries, "settings"):
        assert results[0][entry] == results[1][entry], entry


COMMANDS: dict[str, tuple[Callable[..., Result], dict[str, Any]]] = {
    "autoencoder": (pretrained, ADAM),
    "denoising": (pretrained, {"objective": "denoising_autoencoder", **MOMENTUM}),
    "variational": (pretrained, {"objective": "variational", **ADAM, "ema": 0.9}),
    "byol": (pretrained, {"objective": "byol", **MOMENTUM, "schedule": "cosine"}),
    "gan": (pretrained, {"objective": "gan", **ADAM, "accumulate": 2}),
    "supervised": (pretrained, {"objective": "supervised", **ADAM, "label_smoothing": 0.1}),
    "cached": (finetuned, ADAM),
    "cached with momentum": (finetuned, MOMENTUM),
    "uncached": (finetuned, {**ADAM, "cache": False}),
    "uncached with momentum": (finetuned, {**MOMENTUM, "cache": False, "clip_norm": 1.0}),
    "unfrozen, few labels": (finetuned, {**ADAM, "freeze": [], "labels": 30}),
    "unfreezing": (finetuned, {**ADAM, "unfreeze": "2:hidden2,4:all", "l2_sp": 0.01}),
    "averaged": (finetuned, {**MOMENTUM, "ema": 0.9, "schedule": "1cycle", "norm": "batch", "precise_norm": True}),
    "switched": (finetuned, {**ADAM, "swa": 3, "switch_optimizer": "3:nesterov:0.01", "schedule": "performance:0.5,0"}),
    "regularised": (
        finetuned,
        {**ADAM, "cache": False, "l1": 0.001, "max_norm": 1.0, "mixup": 0.4, "dropout": 0.3, "alternate": True},
    ),
    "augmented": (
        finetuned,
        {**ADAM, "augment": "noise:0.1", "sharpness": 0.05, "accumulate": 2, "class_weights": "balanced"},
    ),
}
AT_RANDOM_STEPS = [
    "autoencoder",
    "variational",
    "byol",
    "gan",
    "cached",
    "uncached with momentum",
    "unfreezing",
    "averaged",
    "switched",
]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("epoch", [1, 4])
def test_interrupted_and_resumed_is_uninterrupted(name: str, epoch: int, source: None) -> None:
    command, settings = COMMANDS[name]
    command(**settings, out="whole")
    with pytest.raises(Interrupted, match=rf"after epoch {epoch - 1} of 6; go on with --resume run$"):
        command(**settings, out="run", reporter=Listener(epoch))
    assert RunFolder(Path("run")).result() is None
    torch.manual_seed(99)
    shutil.rmtree("source")  # nothing of it is needed any more
    command(resume="run", **({} if command is finetuned else {"data": (X, Y)}))
    assert_same("run", "whole")


@pytest.mark.parametrize("epoch", [2, 5])
def test_early_stopping_counts_on(epoch: int, source: None) -> None:
    settings = {**ADAM, "learning_rate": 0.2, "patience": 3, "epochs": 40}
    whole = finetuned(**settings, out="whole")
    assert epoch < whole.epochs < 40, "patience was to run out"
    with pytest.raises(Interrupted):
        finetuned(**settings, out="run", reporter=Listener(epoch))
    finetune(resume="run", data=(X, Y))
    assert_same("run", "whole")
    again = finetune(resume="run", data=(X, Y))  # of a run that had stopped
    assert (again.epochs, again.metrics) == (whole.epochs, whole.metrics)


def test_interrupted_twice() -> None:
    pretrained(**ADAM, out="whole")
    with pytest.raises(Interrupted):
        pretrained(**ADAM, out="run", reporter=Listener(2))
    with pytest.raises(Interrupted, match="after epoch 3 of 6"):
        pretrain(resume="run", data=(X, Y), reporter=Listener(4))
    pretrain(resume="run", data=(X, Y))
    assert_same("run", "whole")


@pytest.mark.parametrize("command", [pretrained, finetuned])
def test_more_epochs_go_on_where_the_run_ended(command: Callable[..., Result], source: None) -> None:
    command(**MOMENTUM, out="whole", epochs=EPOCHS)
    command(**MOMENTUM, out="run", epochs=3)
    resume = finetune if command is finetuned else pretrain
    result = resume(resume="run", data=(X, Y), epochs=EPOCHS)
    assert result.epochs == EPOCHS
    assert_same("run", "whole")
    assert resume(resume="run", data=(X, Y)).epochs == EPOCHS, "the new number of epochs is kept"


def test_a_resumed_run_goes_on_reading_as_it_began(source: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is measured: it may not turn a run that was cached into one that is not, or the other way round."""
    measured = choosing.make_plan

    def plan(cache: bool) -> Callable[..., Any]:
        return lambda *a, **k: replace(measured(*a, **k), cache=cache, reason="" if cache else "as a test has it")

    for begun in (True, False):
        monkeypatch.setattr(choosing, "make_plan", plan(begun))
        with pytest.raises(Interrupted):
            finetuned(out=f"run-{begun}", reporter=Listener(3))
        monkeypatch.setattr(choosing, "make_plan", plan(not begun))
        resumed = finetune(resume=f"run-{begun}", data=(X, Y))
        assert (resumed.cache is not None) == begun


def test_interrupted_while_caching(source: None, monkeypatch: pytest.MonkeyPatch) -> None:
    finetuned(**ADAM, out="whole", cache_dir="another")

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("reuse.finetuning.feeding.feed_activations", interrupted)
        with pytest.raises(Interrupted, match=r"go on with --resume run$"):
            finetuned(**ADAM, out="run", cache_dir="another")
    shutil.rmtree("source")
    finetune(resume="run", data=(X, Y))
    assert_same("run", "whole")


# Killed


def killed_child(work: Callable[[], object], kill: Callable[[], None]) -> bool:
    """Run `work` in a forked child in which `kill` decides the moment; return whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            kill()
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _kill_at_step(number: int) -> Callable[[], None]:
    """Kill this process by -9 as it begins optimizer step `number`."""

    def arm() -> None:
        take, count = Step.__call__, [0]

        def step(self: Step, *arguments: Any) -> Any:
            count[0] += 1
            if count[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return take(self, *arguments)

        Step.__call__ = step  # type: ignore[method-assign]

    return arm


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", AT_RANDOM_STEPS)
def test_killed_at_random_steps_and_resumed_is_uninterrupted(
    name: str, source: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    command, settings = COMMANDS[name]
    command(**settings, out="whole")
    steps = EPOCHS * (1 if "accumulate" in settings else 2)  # 44 rows in batches of 32
    draw = random.Random(name)
    for number, step in enumerate([1, *(draw.randint(2, steps) for _ in range(4))]):
        run = f"run-{number}"
        assert killed_child(lambda run=run: command(**settings, out=run), _kill_at_step(step))  # type: ignore[misc]
        (finetune if command is finetuned else pretrain)(resume=run, data=(X, Y))
        assert_same(run, "whole")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_file_operation_and_resumed_is_uninterrupted(
    source: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a run's first file and its last, every rename and every removal is a moment to be killed at."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    settings = {**ADAM, "epochs": 3, "cache": False}
    finetuned(**settings, out="whole")

    def arm(moment: int) -> Callable[[], None]:
        def armed() -> None:
            count = [0]
            for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "unlink"), (os, "rmdir")):
                setattr(owner, name, _dying(getattr(owner, name), count, moment))

        return armed

    resumed = 0
    for moment in range(1, 200):
        run = f"run-{moment}"
        if not killed_child(lambda run=run: finetuned(**settings, out=run), arm(moment)):  # type: ignore[misc]
            break
        if not (Path(run) / "run.json").exists():
            with pytest.raises(RunError):
                finetune(resume=run, data=(X, Y))
            continue
        finetune(resume=run, data=(X, Y))
        assert_same(run, "whole")
        resumed += 1
    assert 15 < resumed < 150


def _dying(operation: Callable[..., Any], count: list[int], moment: int) -> Callable[..., Any]:
    def die_or_do(*arguments: Any, **keywords: Any) -> Any:
        count[0] += 1
        if count[0] == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(*arguments, **keywords)

    return die_or_do


# What is kept


def test_a_run_is_whole_on_disk_before_anything_is_computed(source: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def look(*_: Any, **__: Any) -> None:
        folder = Path("run") / FOLDER
        seen.append({**load_file(folder / "frozen.safetensors"), **load_file(folder / "start.safetensors")})
        raise KeyboardInterrupt

    monkeypatch.setattr("reuse.finetuning.feeding.plan_features", look)
    with pytest.raises(Interrupted):
        finetuned(out="run")
    model = build("mlp:12,10,8", (9,), 3, activation="elu", **NETWORK)
    assert seen[0].keys() == model.state_dict().keys()
    source_weights = weights("source")
    for name, tensor in source_weights.items():
        assert torch.equal(seen[0][name], tensor)


def test_frozen_tensors_are_stored_once_and_what_trains_in_one_generation(
    source: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    finetuned(out="run")
    folder = Path("run") / FOLDER
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-00006", "frozen.safetensors"]
    frozen, newest = load_file(folder / "frozen.safetensors"), load_file(folder / "epoch-00006" / "weights.safetensors")
    assert not frozen.keys() & newest.keys()
    assert {name.partition(".")[0] for name in frozen} == {"hidden1", "hidden2"}
    assert {name.partition(".")[0] for name in newest} == {"hidden3", "output"}
    everything = torch.load(folder / "epoch-00006" / "state.pt", weights_only=True)
    assert not {"hidden1", "hidden2"} & {name.partition(".")[0] for name in everything["trainer"]["optimizer"]}


def test_other_layers_may_be_frozen_from_there_on(source: None) -> None:
    """What comes to rest is stored, also where the run is then interrupted before its next checkpoint."""
    with pytest.raises(Interrupted):
        finetuned(**ADAM, freeze="hidden1", out="run", reporter=Listener(4))
    newest = load_file(next((Path("run") / FOLDER).glob("epoch-*")) / "weights.safetensors")
    with pytest.raises(Interrupted):
        finetune(resume="run", freeze="hidden1,hidden2", data=(X, Y), reporter=Listener(5))
    result = finetune(resume="run", data=(X, Y))
    assert result.frozen == ("hidden1", "hidden2")
    assert result.best_epoch > 3, "an earlier best had another hidden2"
    data = load((X, Y), preprocessing=load_model("run").preprocessing)
    predicted = load_model("run").values(data.test.inputs).argmax(1)
    assert result.metrics["test"]["accuracy"] == pytest.approx(float((predicted == data.test.targets).float().mean()))
    left = weights("run")
    for name in (n for n in newest if n.startswith("hidden2")):
        assert torch.equal(left[name], newest[name])
    assert not torch.equal(left["output.weight"], newest["output.weight"])


def test_a_layer_that_rests_trains_and_rests_again_stays_as_it_came_to_rest_last(source: None) -> None:
    with pytest.raises(Interrupted):
        finetuned(**ADAM, epochs=12, freeze="hidden1", out="run", reporter=Listener(3))
    for epoch, frozen in ((5, "hidden1,hidden2"), (8, "hidden1")):
        with pytest.raises(Interrupted):
            finetune(resume="run", freeze=frozen, data=(X, Y), reporter=Listener(epoch))
    trained = load_file(next((Path("run") / FOLDER).glob("epoch-*")) / "weights.safetensors")
    with pytest.raises(Interrupted):
        finetune(resume="run", freeze="hidden1,hidden2", data=(X, Y), reporter=Listener(10))
    finetune(resume="run", data=(X, Y))
    left = weights("run")
    names = [name for name in trained if name.startswith("hidden2.")]
    assert names
    for name in names:
        assert torch.equal(left[name], trained[name])


def test_what_cannot_be_resumed_says_why(source: None) -> None:
    finetuned(out="run")
    with pytest.raises(UsageError, match="run is a run of `reuse finetune`: resume it with that command"):
        pretrain(resume="run")
    with pytest.raises(UsageError, match="run was trained on arrays, which a run does not keep"):
        finetune(resume="run")
    with pytest.raises(UsageError, match="epochs is 0"):
        finetune(resume="run", data=(X, Y), epochs=0)
    with pytest.raises(RunError, match="there is no such folder"):
        finetune(resume="nowhere", data=(X, Y))
    (Path("run") / FOLDER / "frozen.safetensors").unlink()
    with pytest.raises(RunError, match=r"frozen\.safetensors is missing"):
        finetune(resume="run", data=(X, Y))

"""Layers that freeze by themselves: which, from when on, and that freezing them costs nothing but what it says."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, fx

from finished_runs import weights
from listening import Listener
from reuse import load, load_model
from reuse.errors import UsageError
from reuse.features import filling
from reuse.finetuning.finetune import finetune
from reuse.pretraining.pretrain import pretrain
from reuse.runs.fitting import Interrupted
from reuse.runs.results import Result
from reuse.training import settling

RANDOM = np.random.default_rng(0)
X = RANDOM.random((150, 9))
Y = (3 * X[:, 0]).astype(int)

pytestmark = pytest.mark.usefixtures("cached_however_small", "source")


@pytest.fixture
def source() -> None:
    pretrain(data=(X, None), model="mlp:12,10,8", norm="batch", precision="float64", epochs=2, out="source")


def tuned(out: str, **settings: Any) -> Result:
    given = {"epochs": 8, "precision": "float64", "learning_rate": 0.01, "early_stopping": False, "auto_freeze": 80}
    return finetune("source", data=(X, Y), out=out, **{**given, **settings})


def test_what_freezes_is_told_and_kept() -> None:
    heard = Listener()
    result = tuned("run", reporter=heard)
    froze = {phase["epoch"]: phase["settled"] for phase in result.phases if "settled" in phase}
    assert froze
    names: list[str] = []
    for epoch, settled in froze.items():
        names += settled
        told = [line for line in heard.lines if line.startswith(f"from epoch {epoch} on {', '.join(settled)} ")]
        assert len(told) == 1
        assert "gradients change least (Δ " in told[0]
    assert names == ["hidden1", "hidden2", "hidden3"][: len(names)]
    assert list(result.phases[-1]["frozen"]) == names
    assert result.phases[0]["frozen"] == []
    written = json.loads((Path("run") / "result.json").read_text())
    assert [phase["epoch"] for phase in written["phases"]] == [1, *froze]


def test_a_percentile_of_zero_freezes_nothing_and_changes_nothing() -> None:
    watched, plain = tuned("watched", auto_freeze=0, dropout=0.3), tuned("plain", auto_freeze=False, dropout=0.3)
    assert len(watched.phases) == 1
    assert watched.metrics == plain.metrics
    torch.testing.assert_close(weights("watched"), weights("plain"), rtol=0, atol=0)


def test_what_has_frozen_stays_bit_for_bit_with_its_statistics() -> None:
    result = tuned("run")
    first = result.phases[1]
    tuned("until", auto_freeze=80, epochs=first["epoch"] - 1, auto_freeze_every=1)
    assert result.best_epoch >= first["epoch"]
    ours, theirs = weights("run"), load_file(next((Path("until") / "checkpoint").glob("epoch-*/weights.safetensors")))
    names = [name for name in ours if name.partition(".")[0] in first["settled"]]
    assert any(name.endswith("running_mean") for name in names)
    for name in names:
        assert torch.equal(ours[name], theirs[name])
    assert not torch.equal(ours["output.weight"], theirs["output.weight"])


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_no_frozen_layer_computes_a_row_twice(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of a deeper cut goes on from that of the shallower one, on disk and in memory."""
    rows: Counter[str] = Counter()
    run = filling.run_frozen

    def counted(module: fx.GraphModule, tensors: tuple[Tensor, ...], *others: Any, **more: Any) -> tuple[Tensor, ...]:
        called = [str(n.target) for n in module.graph.nodes if n.op == "call_module"]
        rows.update({name.partition(".")[0]: len(tensors[0]) for name in called if name.startswith("hidden")})
        return run(module, tensors, *others, **more)

    monkeypatch.setattr(filling, "run_frozen", counted)
    monkeypatch.setattr(settling, "settled_blocks", lambda changed, _: dict(list(changed.items())[:1]))
    result = tuned("run", cache_kind=kind)
    assert [phase["frozen"] for phase in result.phases] == [[], ["hidden1"], ["hidden1", "hidden2"]]
    frozen = result.phases[-1]["frozen"]
    assert rows == dict.fromkeys(frozen, len(X))
    assert result.cache is not None
    assert result.cache["rows"] == {"computed": len(X), "found": 0}
    assert result.plan is not None


def overfitted(out: str, **settings: Any) -> Result:
    """Train few labels until the best epoch is long gone, and layers have frozen since."""
    return tuned(out, labels=40, learning_rate=0.2, epochs=12, auto_freeze=90, **settings)


@pytest.mark.parametrize("cache", [True, False])
def test_best_weights_from_before_a_layer_froze_are_measured_with_that_layer_as_it_was(cache: bool) -> None:
    result = overfitted("run", cache=cache, precise_norm=True)
    assert result.best_epoch < result.phases[1]["epoch"], "the best epoch was to come before"
    model = load_model("run")
    data = load((X, Y), preprocessing=model.preprocessing, labels=40)
    predicted = model.values(data.test.inputs).argmax(1)
    accuracy = float((predicted == data.test.targets).float().mean())
    assert result.metrics["test"]["accuracy"] == pytest.approx(accuracy)


def test_they_survive_an_interruption() -> None:
    whole = overfitted("whole")
    with pytest.raises(Interrupted, match="go on with --resume run"):
        overfitted("run", reporter=Listener(interrupt=11))
    resumed = finetune(resume="run", data=(X, Y))
    assert resumed.best_epoch == whole.best_epoch
    assert resumed.metrics == whole.metrics
    assert resumed.phases == whole.phases
    torch.testing.assert_close(weights("run"), weights("whole"), rtol=0, atol=0)


def test_more_epochs_go_on_where_the_run_ended() -> None:
    every = {"auto_freeze_every": 1}
    whole = tuned("whole", **every)
    tuned("run", epochs=whole.phases[1]["epoch"] - 1, **every)
    longer = finetune(resume="run", data=(X, Y), epochs=8)
    assert longer.phases == whole.phases
    torch.testing.assert_close(weights("run"), weights("whole"), rtol=0, atol=0)


def test_what_has_frozen_stays_so_without_the_setting() -> None:
    begun = tuned("run", epochs=5, auto_freeze_every=1)
    frozen = begun.phases[-1]["frozen"]
    assert frozen
    longer = finetune(resume="run", data=(X, Y), epochs=10, auto_freeze=False)
    assert longer.phases[-1]["frozen"] == frozen
    with pytest.raises(UsageError, match="have frozen by themselves"):
        finetune(resume="run", data=(X, Y), epochs=12, auto_freeze=False, freeze="hidden1", unfreeze="2:all")


@pytest.mark.parametrize(
    "settings",
    [
        {"augment": "noise:0.1"},
        {"ema": 0.9},
        {"swa": 3, "precise_norm": True},
        {"sharpness": 0.05, "accumulate": 2, "clip_norm": 1.0},
        {"l2_sp": 0.01, "max_norm": "hidden1=2", "layer_rates": "hidden1=0.1", "layer_decay": 0.8},
        {"switch_optimizer": "4:sgd:0.01", "schedule": "performance:0.5,1", "watch": True, "snapshots": 1},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_it_goes_with_other_settings(settings: dict[str, Any]) -> None:
    result = tuned("run", auto_freeze=100, **settings)
    assert len(result.phases) > 1
    model = load_model("run")
    data = load((X, Y), preprocessing=model.preprocessing)
    predicted = model.values(data.test.inputs).argmax(1)
    accuracy = float((predicted == data.test.targets).float().mean())
    assert result.metrics["test"]["accuracy"] == pytest.approx(accuracy)
    assert (result.cache is None) == ("augment" in settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze": "hidden1", "unfreeze": "2:all"}, "leave one of the two out"),
        ({"precision": "float16"}, "choose bfloat16"),
        ({"freeze": "hidden1,hidden2"}, "needs two at least: the model has hidden1, hidden2, hidden3"),
        ({"auto_freeze": 101}, "auto_freeze is 101"),
        ({"auto_freeze_every": 0}, "auto.freeze.every is 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tuned("run", **settings)
    assert not Path("run").exists()


def test_an_interval_is_a_twentieth_of_all_epochs() -> None:
    heard = Listener()
    result = tuned("run", epochs=60, auto_freeze=True, reporter=heard)
    assert all((phase["epoch"] - 1) % 3 == 0 for phase in result.phases)
    assert any("every 3 epochs" in line for line in heard.lines)

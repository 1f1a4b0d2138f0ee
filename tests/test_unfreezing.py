"""Fine-tuning in phases: what is frozen stays bit for bit, and the cache changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from finished_runs import weights
from listening import Listener
from reuse.errors import UsageError
from reuse.finetuning.finetune import finetune
from reuse.pretraining.pretrain import pretrain
from reuse.reporting import Epoch
from reuse.runs.fitting import Interrupted
from reuse.runs.results import Result
from reuse.training.step import Step

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(120, 6, generator=DRAW).numpy()
Y = X[:, :3].argmax(1)  # to be learnt, so that the last epochs are the best ones


class Snapshots(Listener):
    """Keeps the weights after each epoch: the checkpoint of every epoch, as fitting writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[Epoch] = []

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        self.epochs.append(epoch)


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pretrain(data=(X, None), model="mlp:9,8", epochs=2, norm="batch", out="source", precision="float64")


def tuned(out: str, **settings: Any) -> tuple[Result, Snapshots]:
    heard = Snapshots()
    given = {"epochs": 6, "freeze": "hidden1,hidden2", "precision": "float64", "learning_rate": 0.02, "dropout": 0.0}
    result = finetune("source", data=(X, Y), out=out, reporter=heard, **{**given, **settings})
    return result, heard


def moved(run: str) -> set[str]:
    """Return the layers whose tensors differ from the source's."""
    before, after = weights("source"), weights(run)
    return {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_layers_train_from_their_phase_on() -> None:
    result, heard = tuned("run", unfreeze="2:hidden2,4:all", early_stopping=False)
    assert [phase["epoch"] for phase in result.phases] == [1, 3, 5]
    assert [phase["frozen"] for phase in result.phases] == [["hidden1", "hidden2"], ["hidden1"], []]
    assert [[f["name"] for f in phase["frontier"]] for phase in result.phases] == [["hidden2"], ["hidden1"], []]
    assert [epoch.number for epoch in heard.epochs] == [1, 2, 3, 4, 5, 6]
    assert "from epoch 3 on hidden2 trains too; still frozen: hidden1" in heard.lines
    assert result.best_epoch > 4
    assert moved("run") == {"hidden1", "hidden2"}


def test_what_is_still_frozen_does_not_move() -> None:
    result, _ = tuned("run", unfreeze="2:hidden2", early_stopping=False)
    assert result.best_epoch > 2
    assert moved("run") == {"hidden2"}
    tuned("never", epochs=2)
    assert moved("never") == set()


def test_cached_equals_uncached_through_all_phases() -> None:
    cached, with_cache = tuned("cached", unfreeze="2:hidden2,4:all")
    plain, without = tuned("plain", unfreeze="2:hidden2,4:all", cache=False)
    assert cached.cache is not None
    assert plain.cache is None
    for one, other in zip(with_cache.epochs, without.epochs, strict=True):
        assert one.train["loss"] == pytest.approx(other.train["loss"], rel=1e-9)
        assert one.valid["loss"] == pytest.approx(other.valid["loss"], rel=1e-9)
    torch.testing.assert_close(weights("cached"), weights("plain"), rtol=1e-9, atol=1e-11)


def test_unfreezing_after_the_last_epoch_would_be_lost() -> None:
    with pytest.raises(UsageError, match="ends after epoch 6"):
        tuned("run", unfreeze="6:all")
    with pytest.raises(UsageError, match="output, which is not frozen"):
        tuned("run2", unfreeze="2:output")


def test_the_pull_towards_reused_weights_holds_them() -> None:
    tuned("free", freeze=[], early_stopping=False)
    tuned("held", freeze=[], early_stopping=False, l2_sp=10.0)
    before = weights("source")
    for name in ("hidden1.linear.weight", "hidden2.linear.weight"):
        far, near = ((weights(run)[name] - before[name]).norm() for run in ("free", "held"))
        assert near < 0.3 * far
    with pytest.raises(UsageError, match="none are restored"):
        finetune("mlp:5", random_weights=True, data=(X, Y), l2_sp=0.1, epochs=1)


def test_the_pull_waits_for_the_layers_that_train_later() -> None:
    tuned("free", unfreeze="3:hidden2", early_stopping=False)
    tuned("held", unfreeze="3:hidden2", early_stopping=False, l2_sp=10.0)
    before = weights("source")["hidden2.linear.weight"]
    far, near = ((weights(run)["hidden2.linear.weight"] - before).norm() for run in ("free", "held"))
    assert near < 0.3 * far
    assert weights("held")["output.weight"].norm() < weights("free")["output.weight"].norm()


def test_a_pull_cannot_begin_once_the_weights_have_moved() -> None:
    tuned("plain", freeze=[])
    with pytest.raises(UsageError, match="plain began without it"):
        finetune(resume="plain", data=(X, Y), l2_sp=0.1, epochs=8)


def rates_of_steps(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[dict[str, float]]:
    """Return the rate of each trained layer at each step."""
    seen: list[dict[str, float]] = []
    take = Step.__call__

    def recorded(self: Step, *arguments: Any) -> Tensor:
        names = {id(parameter): name.partition(".")[0] for name, parameter in self.model.named_parameters()}
        rates = {names[id(p)]: float(g["lr"]) for g in self.optimizer.param_groups for p in g["params"]}
        seen.append(rates)
        return take(self, *arguments)

    monkeypatch.setattr(Step, "__call__", recorded)
    tuned("run", cache=False, schedule="constant", warmup=0, batch_size=32, **settings)
    return seen


def test_the_rate_of_new_layers_rises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps an epoch; hidden2 trains from the seventh on at its own rate, to which it rises over one epoch."""
    steps = rates_of_steps(monkeypatch, unfreeze="2:hidden2", layer_rates="hidden2=0.5", epochs=4)
    rows = len(X) - 2 * (len(X) // 5)
    of_epoch = -(-rows // 32)
    assert len(steps) == 4 * of_epoch
    assert all(step == {"output": 0.02} for step in steps[: 2 * of_epoch])
    assert all(step["output"] == 0.02 for step in steps)
    rising = [step["hidden2"] for step in steps[2 * of_epoch :]]
    expected = [0.01 * min(1, (number + 1) / of_epoch) for number in range(2 * of_epoch)]
    assert rising == pytest.approx(expected)


def test_without_a_warmup_new_layers_begin_at_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = rates_of_steps(monkeypatch, unfreeze="2:hidden2", unfreeze_warmup=0, epochs=3)
    assert steps[-1] == {"output": 0.02, "hidden2": 0.02}
    assert all(set(step.values()) == {0.02} for step in steps)


def test_a_negative_warmup_is_refused() -> None:
    with pytest.raises(UsageError, match="unfreeze warmup is -1"):
        tuned("run", unfreeze="2:hidden2", unfreeze_warmup=-1)


def test_a_run_that_goes_on_with_other_phases_tells_what_was_frozen_when() -> None:
    settings = {"epochs": 9, "early_stopping": False, "out": "run", "freeze": "hidden1,hidden2"}
    with pytest.raises(Interrupted):
        finetune("source", data=(X, Y), unfreeze="3:hidden2", reporter=Listener(5), **settings)
    result = finetune(resume="run", data=(X, Y), unfreeze="2:hidden2,7:all")
    frozen = {phase["epoch"]: phase["frozen"] for phase in result.phases}
    assert frozen == {1: ["hidden1", "hidden2"], 4: ["hidden1"], 8: []}

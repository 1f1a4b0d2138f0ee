"""Fine-tuning in phases: what is frozen stays bit for bit, and the cache changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from reuse.errors import UsageError
from reuse.finetuning import finetune, go_on
from reuse.pretraining import pretrain
from reuse.results import Result
from reuse.runs.reporting import Reporter
from reuse.training.epoch import Epoch

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(120, 6, generator=DRAW).numpy()
Y = X[:, :3].argmax(1)  # to be learnt, so that the last epochs are the best ones


class Snapshots(Reporter):
    """Keeps the weights after each epoch: the checkpoint of every epoch, as fitting writes them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.epochs: list[Epoch] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

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


def weights(run: str) -> dict[str, Tensor]:
    return load_file(Path(run) / "weights.safetensors")


def moved(run: str) -> set[str]:
    """Return the layers whose tensors differ from the source's."""
    before, after = load_file("source/weights.safetensors"), weights(run)
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
    before = load_file("source/weights.safetensors")
    for name in ("hidden1.linear.weight", "hidden2.linear.weight"):
        far, near = ((weights(run)[name] - before[name]).norm() for run in ("free", "held"))
        assert near < 0.3 * far
    with pytest.raises(UsageError, match="none are restored"):
        finetune("mlp:5", random_weights=True, data=(X, Y), l2_sp=0.1, epochs=1)


def test_the_pull_waits_for_the_layers_that_train_later() -> None:
    tuned("free", unfreeze="3:hidden2", early_stopping=False)
    tuned("held", unfreeze="3:hidden2", early_stopping=False, l2_sp=10.0)
    before = load_file("source/weights.safetensors")["hidden2.linear.weight"]
    far, near = ((weights(run)["hidden2.linear.weight"] - before).norm() for run in ("free", "held"))
    assert near < 0.3 * far
    assert weights("held")["output.weight"].norm() < weights("free")["output.weight"].norm()


def test_a_pull_cannot_begin_once_the_weights_have_moved() -> None:
    tuned("plain", freeze=[])
    with pytest.raises(UsageError, match="plain began without it"):
        go_on("plain", data=(X, Y), l2_sp=0.1, epochs=8)

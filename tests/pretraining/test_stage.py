"""Stages: one layer trains at a time, on what the layers below gave, computed once; a stop anywhere changes nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reuse
from finished_runs import history, weights
from listening import Listener
from reuse.errors import UsageError
from reuse.objectives.menu import parse_objective
from reuse.objectives.stacked import Stacked
from reuse.runs.fitting import Interrupted
from reuse.runs.folder import RunFolder
from reuse.runs.results import Result
from reuse.training.step import Step

X = np.random.default_rng(0).random((70, 9))
STACKED = Stacked(noise=(0.1, 0.2), layer_epochs=(2, 3))  # then two of the whole
EPOCHS = 7

pytestmark = pytest.mark.usefixtures("cached_however_small")


def trained(out: str, objective: Any = STACKED, **settings: Any) -> Result:
    given = {"model": "mlp:12,8", "epochs": EPOCHS, "precision": "float64", "norm": "batch"}
    return reuse.pretrain(objective, data=(X, None), out=out, **{**given, **settings})


def test_the_history_and_the_run_say_the_stages() -> None:
    result = trained("run")
    told = [line["stage"] for line in history("run")]
    assert told == ["hidden1"] * 2 + ["hidden2"] * 3 + ["whole"] * 2
    phases = RunFolder.open("run").manifest().phases
    assert [(phase.stage, phase.epoch) for phase in phases] == [("hidden1", 1), ("hidden2", 3), ("whole", 6)]
    assert phases[1].frozen == ("encoder.hidden1", "decoder.output")
    assert [tensor["name"] for tensor in phases[1].frontier] == ["hidden1"]
    assert [phase["stage"] for phase in result.phases] == ["hidden1", "hidden2", "whole"]


def test_in_each_stage_its_own_layers_move_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[set[str]] = []
    take = Step.__call__

    def watched(self: Step, *arguments: Any) -> Tensor:
        before = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        loss = take(self, *arguments)
        after = self.model.state_dict()
        moved.append({".".join(name.split(".")[:2]) for name in before if not torch.equal(before[name], after[name])})
        return loss

    monkeypatch.setattr(Step, "__call__", watched)
    trained("run")
    steps = len(moved) // EPOCHS
    assert moved[: 2 * steps] == [{"encoder.hidden1", "decoder.output"}] * 2 * steps
    assert moved[2 * steps : 5 * steps] == [{"encoder.hidden2", "decoder.hidden1"}] * 3 * steps
    whole = {"encoder.hidden1", "encoder.hidden2", "decoder.hidden1", "decoder.output"}
    assert moved[5 * steps :] == [whole] * 2 * steps


def test_a_layer_learns_what_plain_torch_learns_of_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second layer of a stack against one that is trained by hand on what the first layer came to give."""
    start: dict[str, Tensor] = {}
    take = Step.__call__

    def watched(self: Step, *arguments: Any) -> Tensor:
        if not start:
            start.update({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        return take(self, *arguments)

    monkeypatch.setattr(Step, "__call__", watched)
    splits = {"test_fraction": 0, "valid_fraction": 0}
    alone = {"norm": None, "activation": "relu", "batch_size": 70, "learning_rate": 0.01}
    trained("run", Stacked(layer_epochs=5), epochs=10, **alone, **splits)
    rows = reuse.load((X, None), test_fraction=0, valid_fraction=0).train.inputs.gather(torch.arange(70))[0].double()
    found = weights("run")
    lower, up, down = (nn.Linear(*sizes).double() for sizes in ((9, 12), (12, 8), (8, 12)))
    lower.load_state_dict({name: found[f"hidden1.linear.{name}"] for name in ("weight", "bias")})
    for layer, name in ((up, "encoder.hidden2"), (down, "decoder.hidden1")):
        layer.load_state_dict({kind: start[f"{name}.linear.{kind}"] for kind in ("weight", "bias")})
    with torch.no_grad():
        codes = lower(rows).relu()
    adam = torch.optim.Adam([*up.parameters(), *down.parameters()], lr=0.01)
    for _ in range(5):
        adam.zero_grad()
        (down(up(codes).relu()).relu() - codes).square().mean().backward()
        adam.step()
    torch.testing.assert_close(found["hidden2.linear.weight"], up.weight.detach())
    assert not torch.equal(found["hidden2.linear.weight"], start["encoder.hidden2.linear.weight"])


def test_cached_equals_uncached_and_a_second_run_finds_all() -> None:
    first, plain, second = trained("first"), trained("plain", cache=False), trained("second")
    torch.testing.assert_close(weights("first"), weights("plain"), rtol=1e-9, atol=1e-12)
    for cached, computed in zip(history("first"), history("plain"), strict=True):
        assert cached["valid"] == pytest.approx(computed["valid"], rel=1e-9)
    assert first.cache is not None
    assert second.cache is not None
    assert plain.cache is None
    assert first.cache["rows"] == {"computed": 70, "found": 0}
    assert second.cache["rows"] == {"computed": 0, "found": 70}
    assert all(torch.equal(tensor, weights("second")[name]) for name, tensor in weights("first").items())


def test_a_third_layer_is_computed_from_what_is_cached_of_the_second() -> None:
    listener = Listener()
    trained("run", Stacked(layer_epochs=1), epochs=3, model="mlp:12,10,8", reporter=listener)
    assert listener.said("70 of them go on from what is cached before hidden2")


def test_fine_tuning_finds_what_the_last_layer_was_trained_on() -> None:
    trained("run", Stacked(layer_epochs=2), epochs=4)
    tuned = reuse.finetune("run", freeze="hidden1", data=(X, (3 * X[:, 0]).astype(int)), epochs=1, precision="float64")
    assert tuned.cache is not None
    assert tuned.cache["rows"] == {"computed": 0, "found": 70}


@pytest.mark.parametrize("after", range(1, EPOCHS))
def test_a_run_that_is_stopped_after_any_epoch_goes_on_bit_for_bit(after: int) -> None:
    whole = trained("whole")
    with pytest.raises(Interrupted):
        trained("stopped", reporter=Listener(after + 1))
    resumed = reuse.pretrain(STACKED, data=(X, None), resume="stopped")
    assert history("stopped") == history("whole")
    assert {name: tensor.tolist() for name, tensor in weights("stopped").items()} == {
        name: tensor.tolist() for name, tensor in weights("whole").items()
    }
    assert resumed.metrics == whole.metrics
    assert [phase["stage"] for phase in resumed.phases] == [phase["stage"] for phase in whole.phases]


class BetweenStages(Listener):
    """Presses Ctrl-C as a stage is announced."""

    def line(self, text: str) -> None:
        super().line(text)
        if text.startswith("stage hidden2"):
            raise KeyboardInterrupt


def test_a_run_that_is_stopped_between_stages_goes_on_bit_for_bit() -> None:
    trained("whole")
    with pytest.raises(Interrupted):
        trained("stopped", reporter=BetweenStages())
    reuse.pretrain(STACKED, data=(X, None), resume="stopped")
    assert history("stopped") == history("whole")
    assert all(torch.equal(tensor, weights("stopped")[name]) for name, tensor in weights("whole").items())


def test_more_epochs_go_to_the_last_stage() -> None:
    even = replace(STACKED, layer_epochs=None)  # shares of the run's epochs
    trained("run", even, epochs=6)
    reuse.pretrain(even, data=(X, None), resume="run", epochs=9)
    assert [line["stage"] for line in history("run")] == ["hidden1"] * 2 + ["hidden2"] * 2 + ["whole"] * 5


def test_settings_of_each_layer_are_read_from_text() -> None:
    assert parse_objective("stacked:noise=0.1/0.2,layer_epochs=2/3") == STACKED


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 1}, "2 stages .hidden1, hidden2., the last one begins with epoch 3"),
        ({"augment": "noise:0.1"}, "leave it out"),
        ({"cache_kind": "nowhere"}, "unknown cache kind"),
        ({"objective": Stacked(layer_epochs=(1, 2, 3))}, "3 numbers for 2 layers"),
        ({"objective": Stacked(noise=(0.1,))}, "1 number for 2 layers"),
        ({"objective": "autoencoder", "cache_dir": "elsewhere"}, "caches nothing: leave cache_dir out"),
    ],
)
def test_what_stages_cannot_be_trained_with_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        trained("run", settings.pop("objective", STACKED), **settings)

"""How a training stores and reads activations: in fewer bits, and where they are more than fits into memory."""

from pathlib import Path
from typing import Any

import pytest
import torch

from finished_runs import weights
from listening import Listener
from reuse.errors import UnknownNameError
from reuse.features import feeding
from reuse.finetuning.finetune import finetune
from reuse.pretraining.pretrain import pretrain
from reuse.runs.fitting import Interrupted
from reuse.runs.folder import RunFolder
from reuse.runs.results import Result

pytestmark = pytest.mark.usefixtures("cached_however_small")


@pytest.fixture(autouse=True)
def source() -> None:
    pretrain(data="digits", objective="supervised", model="mlp:30,20", epochs=3, out="source")


def tuned(**settings: Any) -> Result:
    given = {"epochs": 3, "early_stopping": False, "freeze": "hidden1", "data": "digits"}
    return finetune("source", **{**given, **settings})


def test_eight_bits_cost_little_and_say_how_much() -> None:
    listener = Listener()
    exact, eight = tuned(), tuned(cache_dtype="int8", reporter=listener)
    assert exact.cache is not None
    assert eight.cache is not None
    assert eight.cache["bytes"] * 4 == exact.cache["bytes"]
    assert eight.cache["key"] != exact.cache["key"]
    (line,) = [line for line in listener.lines if line.startswith("stored hidden1")]
    assert "as int8: relative error 0." in line
    assert abs(exact.metrics["valid"]["loss"] - eight.metrics["valid"]["loss"]) < 0.02
    again = tuned(cache_dtype="int8", reporter=(second := Listener()))
    assert again.cache is not None
    assert again.cache["hit"]
    assert not [line for line in second.lines if line.startswith("stored")], "measured when it is stored"
    first, later = (weights(run) for run in (eight, again))
    assert all(torch.equal(first[name], later[name]) for name in first)


def test_a_type_that_nothing_is_stored_in_is_refused_before_anything_is_done() -> None:
    with pytest.raises(UnknownNameError, match="int8"):
        tuned(cache_dtype="int9", out="never")
    assert not Path("never").exists()


def test_what_does_not_fit_into_memory_is_read_by_windows_and_resumed_so_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = feeding.free_memory
    monkeypatch.setattr(feeding, "free_memory", lambda device: 0)
    listener = Listener()
    whole = tuned(epochs=5, out="whole", reporter=listener)
    assert "shuffled window by window" in " ".join(listener.lines)
    assert RunFolder(Path("whole")).manifest().cached[1].windowed
    with pytest.raises(Interrupted):
        tuned(epochs=5, out="part", reporter=Listener(2))
    monkeypatch.setattr(feeding, "free_memory", free)
    finetune(resume="part")
    run, part = (weights(name) for name in (whole, "part"))
    assert all(torch.equal(run[name], part[name]) for name in run)


def test_what_was_shuffled_as_a_whole_goes_on_so_where_it_no_longer_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned(epochs=5, out="whole")
    with pytest.raises(Interrupted):
        tuned(epochs=5, out="part", reporter=Listener(2))
    monkeypatch.setattr(feeding, "free_memory", lambda device: 0)
    finetune(resume="part")
    run, part = (weights(name) for name in ("whole", "part"))
    assert all(torch.equal(run[name], part[name]) for name in run)

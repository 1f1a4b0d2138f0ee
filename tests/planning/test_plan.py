"""The plan of a training: what is measured leaves no trace, and what follows from it."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reuse
from finished_runs import weights
from reuse.features import choosing
from reuse.finetuning.finetune import plan as plan_finetuning
from reuse.planning.measuring import measure_bandwidths
from reuse.planning.options import Work
from reuse.runs.results import Result

MODULE = """
from torch import nn

def network(in_features, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, 6), nn.ReLU(), nn.Linear(6, num_classes))

def hooked(in_features, num_classes):
    model = network(in_features, num_classes)
    model.register_forward_hook(lambda module, inputs, output: output * 1.0)
    return model
"""
LOSES = "it would take longer than it saves in 1 epoch"


def test_bandwidths_are_measured_and_leave_no_file(tmp_path: Path) -> None:
    found = measure_bandwidths(tmp_path / "not" / "yet")
    assert min(found.writing, found.reading, found.gathering) > 1e6
    assert not list(tmp_path.iterdir())


WIDENING = """
from torch import nn

def network(in_features, num_classes):
    widths = [(in_features, 8), (8, 3000), (3000, num_classes)]
    return nn.Sequential(nn.Flatten(), *(nn.Linear(a, b) for a, b in widths))
"""


@pytest.fixture
def widening(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A frozen narrow layer, a frozen widening, a head; and rows."""
    Path("widens.py").write_text(WIDENING)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    random = np.random.default_rng(0)
    rows = random.random((200, 30)).astype(np.float32), np.arange(200) % 4
    return {"source": "widens:network", "freeze": ["1", "2"], "data": rows, "epochs": 4, "precision": "float64"}


@pytest.mark.usefixtures("costly")
def test_within_a_budget_the_smaller_frontier_is_cached(widening: dict[str, Any]) -> None:
    """The widening takes 4.8 MB, the layer before it 12.8 KB."""
    _, prepared = plan_finetuning(**widening, cache_budget=1_000_000, cache_kind="disk")
    assert prepared.plan.cache
    assert prepared.plan.behind == ("2",)
    assert [f.shape for f in prepared.stored] == [(8,)]
    result = reuse.finetune(**widening, cache_budget=1_000_000, cache_kind="disk")
    plain = reuse.finetune(**widening, cache=False)
    assert result.cache is not None
    assert result.cache["bytes"] == 200 * 8 * 8
    assert plain.cache is None
    torch.testing.assert_close(weights(result), weights(plain), rtol=1e-9, atol=1e-12)
    again = reuse.finetune(**widening, cache_budget=1_000_000, cache_kind="disk")
    assert again.cache is not None
    assert again.cache["hit"]


@pytest.mark.usefixtures("costly")
def test_in_memory_nothing_is_written(widening: dict[str, Any]) -> None:
    result = reuse.finetune(**widening, cache_kind="memory")
    plain = reuse.finetune(**widening, cache=False)
    assert result.cache is not None
    assert (result.cache["kind"], result.cache["path"]) == ("memory", None)
    assert not Path("cache").exists()
    torch.testing.assert_close(weights(result), weights(plain), rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("costly")
@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_a_resumed_run_keeps_its_cut_and_its_kind_of_cache(
    kind: str, widening: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**widening, "cache_budget": 1_000_000, "cache_kind": kind, "early_stopping": False}
    whole = reuse.finetune(**settings, out="whole")
    begun = reuse.finetune(**{**settings, "epochs": 2}, out="run")
    measured = choosing.make_plan
    monkeypatch.setattr(choosing, "make_plan", lambda *a, **k: replace(measured(*a, **k), cache=False, behind=()))
    resumed = reuse.finetune(resume="run", data=widening["data"], epochs=4, trust=True)
    assert begun.cache is not None
    assert resumed.cache is not None
    assert resumed.cache["kind"] == kind
    assert resumed.frontier == whole.frontier
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)


def test_an_unknown_kind_of_cache_is_refused(widening: dict[str, Any]) -> None:
    with pytest.raises(reuse.errors.UsageError, match="unknown cache kind 'ram'"):
        reuse.finetune(**widening, cache_kind="ram")
    with pytest.raises(reuse.errors.UsageError, match="unknown cache kind"):  # where nothing is cached, too
        reuse.finetune(**{**widening, "freeze": ()}, cache_kind="ram", out="refused")
    assert not Path("refused").exists()


@pytest.fixture
def costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every measurement say that a row takes half a second in each frozen layer."""
    measured = choosing.measure_work

    def slow(*arguments: Any) -> Any:
        work, nodes = measured(*arguments)
        return replace(work, frozen=1.0, whole=work.suffix + 1), {name: 0.5 * (name in ("_1", "_2")) for name in nodes}

    monkeypatch.setattr(choosing, "measure_work", slow)


def loses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every measurement say that the frozen layers and reading cost nothing; a step behind them, a second."""
    measured = choosing.measure_work

    def free(*arguments: Any) -> Any:
        _, nodes = measured(*arguments)
        return Work(frozen=0.0, suffix=1.0, whole=0.5, measured=0.0), dict.fromkeys(nodes, 0.0)

    monkeypatch.setattr(choosing, "measure_work", free)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Fine-tunes a user's callable on 100 digits."""
    Path("brought.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(sys.modules, "brought", raising=False)

    def call(name: str, freeze: str, epochs: int) -> Result:
        return reuse.finetune(f"brought:{name}", freeze=freeze, data="digits", labels=100, epochs=epochs)

    return call


def on_caching(result: Result) -> list[str]:
    """Return the notes that are neither on the data, on what was restored and frozen, nor on what came of it."""
    about = ("arrays: ", "digits: ", "restored ", "frozen: ", "warning: ", "careful: ", "nothing was learned: ")
    return [note for note in result.notes if not note.startswith(about)]


def test_a_training_goes_without_a_cache_that_loses_and_says_so(
    train: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    loses(monkeypatch)
    result = train("network", "1", 1)
    assert on_caching(result) == [f"trained without a cache: {LOSES}"]
    assert result.cache is None
    assert result.plan is not None
    assert not result.plan["cache"]
    assert not list(Path("cache").rglob("segment-*"))


def test_a_training_takes_what_is_cached_even_for_one_epoch(
    train: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, costly: None
) -> None:
    first = train("network", "1", 30)
    loses(monkeypatch)
    second = train("network", "1", 1)
    assert on_caching(first) == on_caching(second) == []
    assert first.cache is not None
    assert second.cache is not None
    assert (first.cache["hit"], second.cache["hit"]) == (False, True)
    rows = sum(first.sizes.values())
    assert second.cache["rows"] == {"computed": 0, "found": rows}


@pytest.mark.parametrize(
    ("name", "freeze", "why"),
    [
        ("hooked", "1", "the model itself has forward or backward hooks"),
        ("network", "3", "no frozen layer comes before the first layer that trains"),
    ],
)
def test_a_model_that_cannot_be_cut_is_trained_and_you_are_told_why(
    train: Callable[..., Result], name: str, freeze: str, why: str
) -> None:
    result = train(name, freeze, 2)
    (note,) = on_caching(result)
    assert note.startswith(f"trained without a cache: {why}")
    assert (result.epochs, result.cache, result.plan, result.frozen) == (2, None, None, (freeze,))
    assert 0 <= result.metrics["test"]["accuracy"] <= 1


def test_cutmix_of_what_is_no_map_does_without_a_cache(train: Callable[..., Result]) -> None:
    rows = np.random.default_rng(0).random((60, 1, 8, 8)).astype(np.float32), np.arange(60) % 3
    result = reuse.finetune("brought:network", freeze="1", data=rows, epochs=2, cutmix=1.0)
    (note,) = on_caching(result)
    assert note.startswith("trained without a cache: cutmix pastes patches of maps")
    assert result.epochs == 2

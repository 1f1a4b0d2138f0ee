"""What the plan says to a person, and where activations are kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reuse.errors import CutError
from reuse.features.planned import PlannedFeatures, describe_plan
from reuse.finetuning.finetune import plan as plan_finetuning
from reuse.paths import cache_folder
from reuse.planning.plan import Plan

NETWORK = """
from torch import nn

def network(in_features, num_classes):
    layers = [nn.Flatten(), *(nn.Linear(a, b) for a, b in [(in_features, 6), (6, 5), (5, 4), (4, num_classes)])]
    return nn.Sequential(*layers)
"""
PAYS = Plan(
    cache=True,
    reason="",
    rows=460,
    missing=460,
    epochs=20,
    bytes_per_sample=24,
    bytes=11040,
    frozen_seconds=10.0,
    suffix_seconds=0.5,
    with_cache=20.0,
    without_cache=210.0,
    later=10.0,
)


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> PlannedFeatures:
    """Digits, the first layer frozen; its plan with figures that are made up."""
    return replace(prepare(monkeypatch, freeze="1"), plan=PAYS, seconds={"prepare": 0.5, "digest": 0.1, "cut": 0.4})


def prepare(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> PlannedFeatures:
    Path("layered.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    _, found = plan_finetuning(**({"source": "layered:network", "data": "digits", "labels": 100} | settings))
    return found


def test_a_plan_that_pays_in_two_lines(prepared: PlannedFeatures) -> None:
    frontier, figures = describe_plan(prepared)
    name = prepared.stored[0].name
    assert frontier == (f"frontier: {name} (6,) float32; 24 bytes a sample, 11.0 KB in all; 460 rows, none cached yet")
    assert figures == (
        "plan for 20 epochs: 20.0 s with the cache, 3.5 min without, 10.0 s once cached; "
        "the frozen layers take 10.0 s, the rest 500 ms an epoch"
    )


def test_what_a_long_check_of_the_cut_takes_is_said(prepared: PlannedFeatures) -> None:
    line = "checking the cut: about 2.5 s the first time, 25% of what the frozen layers take for all rows; "
    assert f"{line}later runs remember it" in describe_plan(replace(prepared, seconds={"cut": 2.5}))
    longer = "checking the cut: about 12.0 s the first time, longer than the frozen layers take for all rows; "
    assert f"{longer}later runs remember it" in describe_plan(replace(prepared, seconds={"cut": 12.0}))


def test_what_the_command_takes_as_a_whole_counts_what_came_before_the_plan(prepared: PlannedFeatures) -> None:
    whole = "the command as a whole: about {}, of which 5.0 s went into starting, reading and planning"
    planned = replace(prepared.plan, elapsed=5.0)
    assert describe_plan(replace(prepared, plan=planned))[-1] == whole.format("25.0 s")
    plain = replace(planned, cache=False, reason="it costs too much")
    assert describe_plan(replace(prepared, plan=plain))[-1] == whole.format("3.6 min")
    assert not any("as a whole" in line for line in describe_plan(prepared))


def test_rows_that_are_there_are_said(prepared: PlannedFeatures) -> None:
    some = describe_plan(replace(prepared, plan=replace(PAYS, missing=60)))
    every = describe_plan(replace(prepared, plan=replace(PAYS, missing=0)))
    assert some[0].endswith("; 460 rows, 60 not cached yet")
    assert every[0].endswith("; all 460 rows are cached")


def test_a_cache_that_loses_is_declined_aloud(prepared: PlannedFeatures) -> None:
    lines = describe_plan(replace(prepared, plan=replace(PAYS, cache=False, reason="it costs too much")))
    assert lines[-1] == "no cache: it costs too much"
    assert not any(line.startswith("no cache") for line in describe_plan(prepared))


def test_the_type_that_is_stored_is_the_one_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found = prepare(monkeypatch, freeze="1", cache_dtype="float16")
    assert "(6,) float16; " in describe_plan(found)[0]


def test_frozen_layers_behind_trained_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = prepare(monkeypatch, freeze=["1", "3"])
    (line,) = [line for line in describe_plan(found) if line.startswith("computed every epoch though frozen")]
    assert line.endswith(": 3.weight, 3.bias")
    many = replace(found, parts=replace(found.parts, uncached=tuple("abcdef")))
    assert "computed every epoch though frozen, behind layers that train: a, b, c, d and 2 more" in describe_plan(many)


def test_planning_computes_no_activations(prepared: PlannedFeatures) -> None:
    assert not list(Path("cache").rglob("segment-*"))
    assert prepared.store.missing(prepared.lookup.keys.splits["train"]).size == len(
        prepared.lookup.keys.splits["train"]
    )


def test_the_folder_given_counts_more_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REUSE_CACHE", "from-environment")
    assert [cache_folder(f) for f in ("given", None, "")] == [Path("given"), *[Path("from-environment")] * 2]
    monkeypatch.delenv("REUSE_CACHE")
    assert cache_folder() == Path("cache")


def test_a_cut_that_costs_far_more_than_it_spares_is_not_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32), np.arange(20) % 2
    np.savez(tmp_path / "few.npz", x=rows[0], y=rows[1])
    few = {"data": str(tmp_path / "few.npz"), "labels": None, "freeze": "1", "test_fraction": 0.5}
    said = r"takes 73 rows through the frozen layers, more than 3 times the 20 that a cache would spare;.*disk"
    with pytest.raises(CutError, match=said):
        prepare(monkeypatch, epochs=3, **few)  # 10 rows in each epoch but the first; all 20 in the next run
    assert prepare(monkeypatch, epochs=4, **few).plan.missing == 20
    assert prepare(monkeypatch, epochs=1, cache_kind="disk", **few).plan.missing == 20  # as it was asked for

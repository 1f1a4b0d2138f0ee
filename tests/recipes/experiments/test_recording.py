"""Records: nothing is measured twice, nothing of other settings is mixed in, quick looks stay out."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from reuse.recipes.experiments import Experiment, FigureColumn, run_experiment

import reuse

ROWS = {"small": {"width": 2}, "large": {"width": 9}}
EXPERIMENT = Experiment("sizes", "Sizes", "Two.", ROWS, (FigureColumn("loss", "loss"),))


class Counted:
    """Measures, and remembers what."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, seed: int, width: int) -> dict[str, float]:
        self.calls.append((seed, width))
        return {"loss": width + seed / 10}


def test_rows_by_seed() -> None:
    record = run_experiment(EXPERIMENT, Counted(), seeds=2)
    assert record.values("large", "loss") == [9.0, 9.1]
    assert record.means("loss") == {"small": pytest.approx(2.05), "large": pytest.approx(9.05)}


def test_what_is_recorded_is_not_measured_again() -> None:
    first, second = Counted(), Counted()
    run_experiment(EXPERIMENT, first, seeds=1)
    record = run_experiment(EXPERIMENT, second, seeds=2)
    assert first.calls == [(0, 2), (0, 9)]
    assert second.calls == [(1, 2), (1, 9)]
    assert record.values("small", "loss") == [2.0, 2.1]


def test_some_rows_are_measured_beside_those_of_before() -> None:
    run_experiment(EXPERIMENT, Counted(), seeds=2, rows=["small"])
    large = Counted()
    record = run_experiment(EXPERIMENT, large, seeds=1, rows=["large"])
    assert large.calls == [(0, 9)]
    assert (record.values("small", "loss"), record.values("large", "loss")) == ([2.0, 2.1], [9.0])


def test_an_interrupted_experiment_keeps_what_it_has() -> None:
    def interrupted(seed: int, width: int) -> dict[str, float]:
        if width == 9:
            raise KeyboardInterrupt
        return {"loss": 0.0}

    with pytest.raises(KeyboardInterrupt):
        run_experiment(EXPERIMENT, interrupted, seeds=1)
    rest = Counted()
    run_experiment(EXPERIMENT, rest, seeds=1)
    assert rest.calls == [(0, 9)]


def test_other_settings_are_refused_and_name_the_row() -> None:
    run_experiment(EXPERIMENT, Counted(), seeds=1)
    changed = replace(EXPERIMENT, rows={"small": {"width": 3}, "large": {"width": 9}})
    with pytest.raises(reuse.RunError, match="other settings of small"):
        run_experiment(changed, Counted(), seeds=1)


def test_a_damaged_record_is_refused() -> None:
    path = run_experiment(EXPERIMENT, Counted(), seeds=1).path
    path.write_text("{")
    with pytest.raises(reuse.RunError, match="remove it"):
        run_experiment(EXPERIMENT, Counted(), seeds=1)


def test_a_checkout_keeps_the_record_and_not_the_looks() -> None:
    folder = Path("recipes/results")
    folder.mkdir(parents=True)
    assert run_experiment(EXPERIMENT, Counted(), seeds=1, quick=True).path.parent == Path("runs/quick")
    assert run_experiment(EXPERIMENT, Counted(), seeds=1).path.parent == folder


def test_the_file_says_what_made_it() -> None:
    path = run_experiment(EXPERIMENT, Counted(), seeds=1, conclude=lambda record: [f"{len(record.runs)} runs"]).path
    found = json.loads(path.read_text())
    assert found["conclusions"] == ["2 runs"]
    assert found["command"] == "reuse recipes run sizes"
    assert found["rows"] == ROWS
    assert {"processor", "cores", "threads", "torch"} <= set(found["machines"][0])
    assert found["runs"][0]["date"]


def test_a_record_made_on_two_machines_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    run_experiment(EXPERIMENT, Counted(), seeds=1)
    other = {"processor": "another", "cores": 64}
    monkeypatch.setattr("reuse.recipes.experiments.recording.machine", lambda: other)
    run_experiment(EXPERIMENT, Counted(), seeds=1)  # nothing is measured
    path = run_experiment(EXPERIMENT, Counted(), seeds=2).path
    assert [one["cores"] for one in json.loads(path.read_text())["machines"]] == [os.cpu_count(), 64]

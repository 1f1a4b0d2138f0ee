"""`reuse ensemble`, and Monte-Carlo dropout in `reuse predict`."""

import csv
import inspect
import io
import shutil
from pathlib import Path
from typing import Any

import click
import pytest

from reuse.cli.ensembling import ensemble
from reuse.inference.ensembling import evaluate_ensemble
from reuse.pretraining.pretrain import pretrain


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("members")
    settings: dict[str, Any] = {"data": "iris", "model": "mlp:8", "epochs": 5, "split_seed": 0, "dropout": 0.2}
    return [pretrain("supervised", seed=seed, out=folder / str(seed), **settings).run for seed in range(2)]


def test_the_mean_of_predictions(reuse: Any, runs: list[str]) -> None:
    values = reuse("ensemble", *runs, "--json").json
    assert values == evaluate_ensemble(runs).to_dict() | {"members": values["members"], "notes": values["notes"]}
    assert [member["run"] for member in values["members"]] == runs
    mixed = reuse("ensemble", *runs, "--mix", "--split", "valid", "--json").json
    assert mixed["metrics"]["loss"] <= min(member["metrics"]["loss"] for member in mixed["members"]) + 1e-6
    lines = reuse("ensemble", *runs).out.splitlines()
    assert len(lines) == 4
    assert "all, on 30 test rows" in lines[-1]


def test_a_soup_leaves_a_run(reuse: Any, runs: list[str], tmp_path: Path) -> None:
    copy = shutil.copytree(runs[0], tmp_path / "copy")
    values = reuse("ensemble", runs[0], copy, "--soup", "greedy", "--out", tmp_path / "soup", "--json").json
    assert set(values["ingredients"]) == {runs[0], str(copy)}
    metrics = reuse("evaluate", tmp_path / "soup", "--json").json["metrics"]
    assert metrics == pytest.approx(values["test"], rel=1e-5)
    lines = reuse("ensemble", *runs, "--soup", "uniform").out.splitlines()
    assert len(lines) == 5
    assert list((tmp_path / "runs").glob("soup-*"))


def test_options_mirror_the_function() -> None:
    options = {option.name: option for option in ensemble.params if option.name not in ("soup", "out", "as_json")}
    arguments = inspect.signature(evaluate_ensemble).parameters
    assert list(options) == list(arguments)
    context = click.Context(ensemble)
    for name, option in options.items():
        assert name == "runs" or option.get_default(context) == arguments[name].default
        assert not isinstance(option, click.Option) or option.help


def test_wrong_usage_is_one_line(reuse: Any, runs: list[str]) -> None:
    reuse("ensemble").is_refused("RUN")
    reuse("ensemble", runs[0]).is_refused("two runs or more")
    reuse("ensemble", *runs, "--soup", "gredy").is_refused("'greedy'")
    reuse("ensemble", *runs, "--soup", "greedy", "--mix").is_refused("--mix is not for --soup")
    reuse("ensemble", *runs, "--soup", "greedy", "--data", "iris").is_refused("--data is not for --soup")
    reuse("ensemble", *runs, "--out", "here").is_refused("--out is for --soup")
    reuse("ensemble", runs[0], "nowhere").is_refused("nowhere")


def test_predictions_with_uncertainty(reuse: Any, runs: list[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(reuse("predict", runs[0], "--data", "iris", "--mc-dropout", 5).out)))
    assert len(rows) == 150
    assert all(float(row["uncertainty"]) > 0 for row in rows)
    reuse("predict", runs[0], "--data", "iris", "--mc-dropout", 1).is_refused("2 passes or more")

"""`reuse sweep`: a table, best first, or JSON; the kept head predicts; its options are those of the trainings."""

from pathlib import Path
from typing import Any

import click
import pytest

import reuse as package
from reuse.cli.sweeping import sweep
from reuse.errors import UsageError
from reuse.settings.caching import StoringSettings
from reuse.settings.data import DataSettings
from reuse.settings.model import FreezingSettings, ModelSettings, ReusingSettings
from reuse.settings.setting import settings_of
from reuse.settings.training import ComputingSettings

SMALL = ("--data", "digits", "--freeze", "hidden1", "--labels", "60", "--epochs", 2)


def test_a_table_and_a_head_that_predicts(reuse: Any, pretrained: Path, tmp_path: Path) -> None:
    cache = ("--cache-dir", tmp_path / "cache")
    lists = ("--learning-rate", "0.001,0.1", "--weight-decay", "0,1e-4", "--seeds", 2, "--keep", "best")
    answer = reuse("sweep", pretrained, *SMALL, *lists, *cache, "--out", tmp_path / "swept")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].split() == ["learning_rate", "weight_decay", "accuracy", "standard_error", "heads", "best_epoch"]
    assert [line.split()[0] for line in lines[1:5]] == ["0.1", "0.1", "0.001", "0.001"]
    assert f"reuse predict {tmp_path}/swept/best" in lines[-1]
    assert "8 heads are trained together" in answer.err
    predicted = reuse("evaluate", tmp_path / "swept" / "best", "--data", "digits", "--json")
    assert predicted.code == 0, predicted.err


def test_a_table_of_layers(reuse: Any, pretrained: Path, tmp_path: Path) -> None:
    places = ("--cache-dir", tmp_path / "cache", "--out", tmp_path / "swept", "--keep", "best")
    answer = reuse("sweep", pretrained, "--probe-layers", "--data", "digits", "--labels", 100, *places)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].split()[:5] == ["layer", "width", "kept", "penalty", "accuracy"]
    assert [line.split()[0] for line in lines[1:4]] == ["hidden1", "hidden2", "all"]
    assert f"reuse predict {tmp_path}/swept/best" in lines[-1]
    wrong = reuse("sweep", pretrained, "--probe-layers", "hidden1", "--data", "digits", "--epochs", 3)
    wrong.is_refused("takes no epochs")


def test_json(reuse: Any, pretrained: Path, tmp_path: Path) -> None:
    cache = ("--cache-dir", tmp_path / "cache", "--out", tmp_path / "swept")
    answer = reuse("sweep", pretrained, *SMALL, "--folds", 2, "--optimizer", "adam,sgd", *cache, "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    assert {row["optimizer"] for row in found["table"]} == {"adam", "sgd"}
    assert len(found["configurations"]) == 4
    assert found["kept"] is None
    assert found["best"]["test"]["accuracy"]["mean"] > 0
    assert found["frontier"][0]["shape"] == [16]


def test_a_solver(reuse: Any, pretrained: Path, tmp_path: Path) -> None:
    common = ("--data", "digits", "--labels", 60, "--cache-dir", tmp_path / "cache", "--out", tmp_path / "swept")
    solver = ("--freeze", "!output", "--solver", "logistic", "--penalty", "1e-4,1e-1,10", "--keep", "best")
    answer = reuse("sweep", pretrained, *common, *solver)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].split() == ["penalty", "accuracy", "standard_error", "heads", "iterations"]
    assert {float(line.split()[0]) for line in lines[1:4]} == {1e-4, 0.1, 10.0}
    assert "3 heads are solved together" in answer.err
    predicted = reuse("evaluate", tmp_path / "swept" / "best", "--data", "digits", "--json")
    assert predicted.code == 0, predicted.err


def test_refuses(reuse: Any, pretrained: Path) -> None:
    reuse("sweep", pretrained, *SMALL, "--optimizer", "lamb").is_refused("lamb", "one by one")
    reuse("sweep", pretrained, "--data", "digits").is_refused("freeze")
    reuse("sweep", pretrained, *SMALL, "--solver", "logistic").is_refused("epochs", "solver")
    reuse("sweep", pretrained, *SMALL, "--penalty", "0.1").is_refused("weight_decay", "solver")


def test_takes_what_finetune_takes() -> None:
    taken = {option.name: option for option in sweep.params}
    groups = (FreezingSettings, ReusingSettings, StoringSettings, ModelSettings, DataSettings, ComputingSettings)
    assert {name for group in groups for name in settings_of(group)} <= taken.keys()
    assert {"epochs", "patience", "early_stopping", "warmup", "decay_all", "label_smoothing"} <= taken.keys()
    assert not {"mixup", "augment", "unfreeze", "l1", "ema", "compile", "views", "snapshots"} & taken.keys()
    assert all(option.help for option in taken.values() if isinstance(option, click.Option))


@pytest.mark.parametrize("name", ["mixup", "unfreeze", "cache", "ema"])
def test_what_heads_cannot_have_together_says_why(name: str) -> None:
    with pytest.raises(UsageError, match=f"heads together .* takes no {name}: leave it out"):
        package.sweep("mlp:4", **{name: 1})


def test_quiet_prints_the_last_line_and_notes_on_the_data_alone(reuse: Any, tmp_path: Path) -> None:
    rows = "".join(f"{n / 7:.3f},{n * n % 11},same,{'ab'[n % 2]}\n" for n in range(60))
    (tmp_path / "t.csv").write_text(f"one,two,three,kind\n{rows}")
    data = ("--data", tmp_path / "t.csv", "--target", "kind", "--cache-dir", tmp_path / "cache", "--quiet")
    answer = reuse("sweep", "mlp:8", *data, "--freeze", "hidden1", "--epochs", 1, "--out", tmp_path / "swept")
    assert answer.out == f"run folder: {tmp_path / 'swept'}\n"
    assert answer.err.splitlines() == [
        "column 'three': text, 1 category: it tells nothing",
        "3 features: 'one', 'two', 'three'",
        "warning: these frozen layers have random weights: hidden1",
    ]

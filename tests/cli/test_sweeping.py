"""`reuse sweep`: a table, best first, or JSON; the kept head predicts; its options are those of the trainings."""

from pathlib import Path
from typing import Any

from reuse.cli.sweeping import SWEEP
from reuse.cli.training import FINETUNE
from reuse.searching.unused_settings import UNUSED_BY_SWEEP

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
    names = [setting.name for setting in SWEEP]
    assert len(names) == len(set(names))
    assert {setting.name for setting in FINETUNE} - set(UNUSED_BY_SWEEP) <= set(names)
    assert set(UNUSED_BY_SWEEP) <= {setting.name for setting in FINETUNE}
    assert all(setting.help for setting in SWEEP)

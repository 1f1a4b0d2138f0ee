"""A sweep equals the fine-tunings that it stands for, divides rows as told, and keeps a head that predicts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from reuse.data.loading import load
from reuse.errors import DataError, UsageError
from reuse.finetuning.finetune import finetune
from reuse.inference.predicting import evaluate_run
from reuse.runs.folder import WEIGHTS, RunFolder
from reuse.runs.tensor_files import load_tensors_file
from reuse.searching.folds import divide
from reuse.searching.grid import read_choices, read_labels
from reuse.searching.sweep import sweep


@pytest.fixture
def common(source: Path, tmp_path: Path) -> dict[str, Any]:
    own = {"source": source, "freeze": "hidden1", "data": "digits", "cache_dir": tmp_path / "cache"}
    return {**own, "precision": "float64", "device": "cpu"}


def test_each_head_is_what_finetune_would_train(common: dict[str, Any], tmp_path: Path) -> None:
    settings = {**common, "labels": 150, "epochs": 12, "patience": 3, "schedule": "cosine", "warmup": 0.5}
    tried = {"learning_rate": [0.3, 0.01], "weight_decay": [0.0, 0.1], "optimizer": ["nesterov", "adamw"]}
    swept = sweep(**settings, **tried, keep="best", out=tmp_path / "sweep")
    assert len(swept.configurations) == 8
    for one in swept.configurations:
        own = {name: one[name] for name in tried}
        alone = finetune(**settings, **own, out=tmp_path / f"alone{one['number']}")
        assert one["best_epoch"] == alone.best_epoch
        assert one["valid"] == pytest.approx(alone.metrics["valid"], abs=1e-9)
        if one["number"] == swept.best["number"]:
            kept = load_tensors_file(Path(str(swept.kept)) / WEIGHTS)
            tensors = load_tensors_file(Path(alone.run) / WEIGHTS)
            assert max((kept[name] - tensors[name]).abs().max().item() for name in tensors) < 1e-10
            result = RunFolder.open(str(swept.kept)).result()
            assert result is not None
            for split, metrics in alone.metrics.items():
                assert result["metrics"][split] == pytest.approx(metrics, abs=1e-9)
            assert {n: value["mean"] for n, value in swept.best["test"].items()} == pytest.approx(alone.metrics["test"])
    listed = swept.cv_results_
    best = listed["params"][int(listed["rank_test_score"].argmin())]
    assert {name: best[name] for name in tried} == {name: swept.best[name] for name in tried}
    epochs = {one["best_epoch"] for one in swept.configurations}
    assert len(epochs) > 1  # each stops by itself
    assert swept.epochs["0"] <= 12


def test_seeds_are_those_of_finetune_and_added_layers_too(common: dict[str, Any], tmp_path: Path) -> None:
    settings = {**common, "labels": 100, "epochs": 1, "batch_size": 80, "learning_rate": 0.01, "split_seed": 0}
    swept = sweep(**settings, head=["0", "mlp:12"], seeds=2, out=tmp_path / "sweep")
    assert [(one["head"], one["seed"]) for one in swept.configurations] == [
        ("0", 0), ("0", 1), ("mlp:12", 0), ("mlp:12", 1),
    ]  # fmt: skip
    assert [row["heads"] for row in swept.table] == [2, 2]
    wide = finetune(**settings, add_layers="12", out=tmp_path / "alone")
    (one,) = (one for one in swept.configurations if (one["head"], one["seed"]) == ("mlp:12", 0))
    assert one["valid"] == pytest.approx(wide.metrics["valid"], abs=1e-9)
    first, second = swept.configurations[:2]
    assert first["valid"]["loss"] != second["valid"]["loss"]


def test_folds_and_labels(common: dict[str, Any], tmp_path: Path) -> None:
    swept = sweep(**common, labels="60,10/class", folds=3, epochs=2, out=tmp_path / "sweep", keep="best")
    assert {(one["labels"], one["fold"]) for one in swept.configurations} == {
        (labels, fold) for labels in (60, "10/class") for fold in (1, 2, 3)
    }
    for row in swept.table:
        own = [one["valid"]["accuracy"] for one in swept.configurations if one["labels"] == row["labels"]]
        assert row["accuracy"] == pytest.approx(np.mean(own))
        assert row["standard_error"] == pytest.approx(np.std(own, ddof=1) / np.sqrt(3))
    assert swept.table[0]["accuracy"] >= swept.table[1]["accuracy"]
    lines = [json.loads(line) for line in (tmp_path / "sweep" / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert all(len(line["loss"]) == 6 for line in lines)
    result = RunFolder.open(str(swept.kept)).result()
    assert result is not None
    again = evaluate_run(str(swept.kept), data="digits")
    assert result["metrics"]["test"] == pytest.approx(again.metrics)


def test_rows_are_divided_as_by_load() -> None:
    data = load("digits")
    few = {n: load("digits", labels=n) for n in (50, 200)}
    rows = {n: (some.train.rows, some.valid.rows) for n, some in few.items()}
    pool, divisions = divide(data, dict(rows), 0, seed=0)
    assert len(pool.train) == 200
    assert not set(pool.train.rows) & set(data.test.rows)
    for division, some in zip(divisions, few.values(), strict=True):
        assert set(pool.train.rows[division.train.numpy()]) == set(some.train.rows)
        assert set(pool.train.rows[division.valid.numpy()]) == set(some.valid.rows)
    places = torch.arange(len(pool.train))[divisions[0].valid]
    by_row = dict(zip(few[50].valid.rows.tolist(), few[50].valid.inputs.digests().tolist(), strict=True))
    digests = pool.train.inputs.digests()
    assert all(digests[place].tolist() == by_row[int(pool.train.rows[place])] for place in places)
    folded, parts = divide(data, {200: rows[200]}, 4, seed=0)
    assert sum(part.valid.int() for part in parts).tolist() == [1] * 200  # type: ignore[union-attr]
    assert all(not (part.valid & part.train).any() and (part.valid | part.train).all() for part in parts)
    counts = [np.bincount(folded.train.targets[part.valid].numpy(), minlength=10) for part in parts]  # type: ignore[index]
    assert np.ptp(counts, axis=0).max() <= 1  # stratified
    with pytest.raises(UsageError, match="folds is 30"):
        divide(data, {200: rows[200]}, 30, seed=0)


def test_numbers_are_ranked_by_r2(tmp_path: Path) -> None:
    settings = {"freeze": "hidden1", "random_weights": True, "data": "diabetes", "epochs": 3}
    swept = sweep("mlp:16,8", **settings, learning_rate="1e-5,0.05", cache_dir=tmp_path / "c", out=tmp_path / "s")
    assert swept.metric == "r2"
    assert swept.table[0]["learning_rate"] == 0.05
    by_loss = sweep(
        "mlp:16,8", **settings, learning_rate="1e-5,0.05", metric="mse", cache_dir=tmp_path / "c", out=tmp_path / "t"
    )
    assert by_loss.table[0]["mse"] < by_loss.table[1]["mse"]


def test_a_combination_that_diverges_comes_last(common: dict[str, Any], tmp_path: Path) -> None:
    tried = {"learning_rate": "1e4,1e-4", "weight_decay": "1", "optimizer": "sgd", "batch_size": 4}
    settings = {**common, "precision": "float32", "labels": 60, "epochs": 3}
    swept = sweep(**settings, **tried, out=tmp_path / "sweep")
    assert [row["learning_rate"] for row in swept.table] == [1e-4, 1e4]
    assert swept.table[-1]["accuracy"] is None
    assert [one["best_epoch"] for one in swept.configurations] == [0, 3]
    result = RunFolder.open(swept.run).result()
    assert result is not None
    assert "NaN" not in (tmp_path / "sweep" / "result.json").read_text()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cache": False}, "takes no cache"),
        ({"mixup": 0.2}, "takes no mixup"),
        ({"optimizer": "lamb"}, "cannot step for many heads"),
        ({"head": "wide"}, "head is 'wide'"),
        ({"learning_rate": "fast"}, "give numbers"),
        ({"learning_rate": ""}, "holds no value"),
        ({"learning_rate": "0.1,-1"}, "learning rate is -1"),
        ({"labels": "some"}, "labels='some'"),
        ({"seeds": 0}, "seeds is 0"),
        ({"keep": "all"}, "keep is 'all'"),
        ({"precision": "bfloat16"}, "a sweep computes in float32 or float64"),
        ({"freeze": ()}, "nothing is frozen"),
        ({"metric": "r2"}, "metric is 'r2'"),
        ({"folds": 1, "labels": 50}, "folds is 1"),
        ({"norm": "batch", "folds": 2, "labels": 60, "model": "mlp:16,12"}, "takes statistics over the rows"),
        ({"learning_rat": 1}, "learning_rate"),
    ],
)
def test_refuses_with_one_clear_line(common: dict[str, Any], tmp_path: Path, given: dict[str, Any], words: str) -> None:
    settings = {**common, "labels": 50, "epochs": 1, "out": tmp_path / "sweep", **given}
    with pytest.raises(UsageError, match=words):
        sweep(**settings)


def test_refuses_labels_that_leave_none_to_validate(common: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no validation rows"):
        sweep(**common, labels="1/class", epochs=1, out=tmp_path / "sweep")


def test_reads_lists() -> None:
    lists: dict[str, Any] = {
        "head": "0,100/50",
        "optimizer": "adam:betas=0.8/0.9,eps=1e-6,sgd",
        "learning_rate": [0.1, 0.1, 0.01],
        "weight_decay": 0,
        "momentum": None,
        "schedule": "constant;piecewise:5,0.1",
    }
    choices = read_choices(**lists)
    assert len(choices) == len(set(choices)) == 16
    assert {choice.optimizer for choice in choices} == {"adam:betas=0.8/0.9,eps=1e-6", "sgd"}
    assert {choice.head for choice in choices} == {"0", "mlp:100/50"}
    assert {choice.schedule for choice in choices} == {"constant", "piecewise:5,0.1"}
    assert read_labels("100,10/class,all,100") == [100, "10/class", None]
    assert read_labels(None) == [None]


@pytest.fixture
def weighted() -> pd.DataFrame:
    draw = np.random.default_rng(4)
    x = draw.normal(size=(150, 3))
    label = np.where(x[:, 0] + draw.normal(size=150) > 0, "p", "q")
    weight = draw.integers(0, 4, 150) * 1.0
    return pd.DataFrame({**dict(zip("abc", x.T, strict=True)), "weight": weight, "label": label})


def test_rows_count_as_much_for_heads_as_for_finetune(weighted: pd.DataFrame, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "data": weighted, "target": "label", "sample_weight": "weight", "freeze": "hidden1", "epochs": 4,
        "batch_size": 16, "class_weights": "q=2", "precision": "float64", "device": "cpu",
        "cache_dir": tmp_path / "cache",
    }  # fmt: skip
    swept = sweep("mlp:8", **settings, learning_rate=[0.1, 0.01], keep="best", out=tmp_path / "sweep")
    for one in swept.configurations:
        alone = finetune(
            "mlp:8", **settings, learning_rate=one["learning_rate"], out=tmp_path / f"alone{one['number']}"
        )
        assert one["valid"] == pytest.approx(alone.metrics["valid"], abs=1e-9)
    alike = sweep("mlp:8", **{**settings, "data": weighted.assign(weight=1.0)}, learning_rate=[0.1, 0.01])
    assert alike.configurations[0]["valid"] != swept.configurations[0]["valid"]


@pytest.mark.parametrize("how", [{"learning_rate": [0.1]}, {"solver": "ridge"}])
def test_a_fold_whose_training_rows_weigh_nothing_is_refused(weighted: pd.DataFrame, how: dict[str, Any]) -> None:
    rows = load(weighted, target="label", sample_weight="weight").train.rows
    one = weighted.assign(weight=0.0)
    one.loc[rows[0], "weight"] = 1.0
    settings: dict[str, Any] = {"data": one, "target": "label", "sample_weight": "weight", "freeze": "hidden1"}
    with pytest.raises(
        UsageError, match=r"training rows beside fold \d all have a sample_weight of 0: give another seed"
    ):
        sweep("mlp:8", **settings, **how, folds=3)

"""Probes of layers as a command: its table, the run that it keeps, what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import reuse
from reuse.errors import UsageError
from reuse.runs.folder import RunFolder
from reuse.searching.sweep import sweep

RNG = np.random.default_rng(0)
LABELS = np.arange(150) % 3
CENTRES = RNG.normal(size=(3, 1, 8, 8))
ROWS: dict[str, Any] = {"x": (CENTRES[LABELS] + RNG.normal(size=(150, 1, 8, 8))).astype(np.float32), "y": LABELS}
QUICK: dict[str, Any] = {"data": ROWS, "device": "cpu"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("source") / "run"
    return reuse.pretrain("supervised", model="convnet:3,4/5", epochs=1, out=out, **QUICK).run


def test_the_table_has_a_row_for_each_layer_and_one_for_all(source: str) -> None:
    found = sweep(source, probe_layers=True, probe_grid=1, **QUICK)
    assert [row["layer"] for row in found.table] == ["conv1", "conv2", "hidden1", "all together"]
    assert [row["width"] for row in found.table] == [3, 4, 5, 12]
    assert all(row["kept"] <= row["width"] for row in found.table)
    assert all(0 < row["interval"] < 0.5 and 0 < row["test_interval"] < 0.5 for row in found.table)
    best = found.table[found.best["number"]]
    assert best["accuracy"] == max(row["accuracy"] for row in found.table)
    assert found.best["test"]["accuracy"]["mean"] == pytest.approx(best["test_accuracy"])
    assert found.cache is not None
    assert found.cache["rows"] == {"computed": 150, "found": 0}


@pytest.mark.parametrize("folds", [0, 3])
def test_the_run_that_is_kept_predicts_as_the_probe(source: str, folds: int) -> None:
    found = sweep(source, probe_layers="conv*", folds=folds, keep="best", out="probes", **QUICK)
    assert found.kept is not None
    saved = reuse.load_model(found.kept)
    test = reuse.load(ROWS, preprocessing=saved.preprocessing, split_seed=0).test
    right = (saved.predict_proba(test.inputs).argmax(1) == test.targets.numpy()).mean()
    assert right == pytest.approx(found.best["test"]["accuracy"]["mean"])
    result = RunFolder(Path(found.kept)).result()
    assert result["metrics"]["test"]["accuracy"] == pytest.approx(right)
    assert result["frozen"] == ["backbone"]


def test_what_was_computed_is_found_again_whatever_the_labels(source: str) -> None:
    sweep(source, probe_layers="conv1", **QUICK)
    again = sweep(source, probe_layers="conv1", split_seed=0, seed=3, **QUICK)
    assert again.cache is not None
    assert again.cache["hit"]
    more = sweep(source, probe_layers="conv1,conv2", split_seed=0, **QUICK)
    assert more.cache is not None
    assert more.cache["rows"] == {"computed": 150, "found": 0}, "of conv2 alone"


def test_from_the_cache_the_same_comes_out(source: str) -> None:
    cached = sweep(source, probe_layers=True, **QUICK)
    before = cached.table
    assert sweep(source, probe_layers=True, cache_dir="elsewhere", **QUICK).table == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"probe_layers": True, "learning_rate": 0.1}, "takes no learning_rate"),
        ({"probe_layers": True, "solver": "ridge"}, "takes no solver"),
        ({"probe_layers": True, "labels": "30,60"}, "one number of labels"),
        ({"probe_layers": True, "freeze": "conv1"}, "leave freeze out"),
        ({"probe_layers": "cnv1"}, "did you mean 'conv1'"),
        ({"probe_layers": True, "keep": "all"}, "keep is 'all'"),
        ({"probe_grid": 3}, "without probe_layers"),
    ],
)
def test_what_probes_have_no_use_for_is_refused(source: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        sweep(source, **settings, **QUICK)


def test_numbers_are_no_classes() -> None:
    rows = {"x": RNG.normal(size=(60, 4)), "y": RNG.normal(size=60)}
    run = reuse.pretrain("autoencoder", data=rows, model="mlp:5", epochs=1).run
    with pytest.raises(UsageError, match="the task is regression"):
        sweep(run, probe_layers=True, data=rows)


def test_probes_count_rows_by_their_weights() -> None:
    draw = np.random.default_rng(0)
    x, weight = draw.normal(size=(150, 3)), draw.integers(0, 4, 150)
    label = (x[:, 0] + draw.normal(size=150) > 0).astype(int)
    table = pd.DataFrame({**dict(zip("abc", x.T, strict=True)), "w": weight, "label": label})
    common: dict[str, Any] = {"target": "label", "probe_layers": True, "random_weights": True, "device": "cpu"}
    found = sweep("mlp:6,4", data=table, sample_weight="w", keep="best", **common)
    assert found.kept is not None
    scaled = sweep("mlp:6,4", data=table.assign(w=weight * 1e-30), sample_weight="w", **common)
    assert scaled.table == found.table
    assert sweep("mlp:6,4", data=table, ignore="w", **common).table != found.table

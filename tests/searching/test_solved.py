"""A sweep with a solver: its heads are scikit-learn's optima on what the frozen layers give, folds and all."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

from listening import Listener
from reuse.data.dataset import Split
from reuse.data.loading import load
from reuse.errors import UsageError
from reuse.heads import solvers
from reuse.heads.logistic import solve_logistic
from reuse.inference.predicting import evaluate_run
from reuse.runs.folder import WEIGHTS, RunFolder
from reuse.runs.models import load_model
from reuse.runs.tensor_files import load_tensors_file
from reuse.searching.folds import divide
from reuse.searching.sweep import sweep

PENALTIES = (1e-4, 1e-1)


@pytest.fixture
def common(source: Path, tmp_path: Path) -> dict[str, Any]:
    own = {"source": source, "freeze": "!output", "data": "digits", "cache_dir": tmp_path / "cache"}
    return {**own, "precision": "float64", "device": "cpu", "out": tmp_path / "sweep"}


def features(run: str, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return what the layers below the output give for the rows of a split, by the whole model and a hook."""
    network = load_model(run).network.eval().double()
    seen: list[torch.Tensor] = []
    network.get_submodule("output").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(split.inputs.gather(torch.arange(len(split)))[0].double())
    assert split.targets is not None
    return seen[0].numpy(), split.targets.numpy()


@pytest.mark.parametrize("solver", ["logistic", "ridge"])
def test_heads_are_those_of_scikit_learn(common: dict[str, Any], solver: str) -> None:
    swept = sweep(**common, labels=200, solver=solver, penalty=PENALTIES, keep="best", class_weights="1=3")
    data = load("digits", labels=200)
    x = {name: features(str(swept.kept), getattr(data, name)) for name in ("train", "valid", "test")}
    weights = {label: 3.0 if label == 1 else 1.0 for label in range(10)}
    total = sum(weights[label] for label in x["train"][1])
    for one in swept.configurations:
        alpha = one["penalty"] * total
        if solver == "ridge":
            theirs = RidgeClassifier(alpha=alpha, class_weight=weights).fit(*x["train"])
        else:
            theirs = LogisticRegression(
                C=1 / alpha, solver="newton-cg", tol=1e-10, max_iter=10_000, class_weight=weights
            ).fit(*x["train"])
        assert one["valid"]["accuracy"] == pytest.approx(theirs.score(*x["valid"]))
        if one["number"] == swept.best["number"]:
            kept = load_tensors_file(Path(str(swept.kept)) / WEIGHTS)
            assert kept["output.weight"].numpy() == pytest.approx(theirs.coef_, abs=1e-2 * abs(theirs.coef_).max())
            # A row may lie so near the boundary of two classes that solvers that stop elsewhere part over it.
            near = 1.01 / len(x["test"][1]) if solver == "logistic" else 1e-9
            assert swept.best["test"]["accuracy"]["mean"] == pytest.approx(theirs.score(*x["test"]), abs=near)
    result = RunFolder.open(str(swept.kept)).result()
    assert result is not None
    assert result["metrics"]["test"] == pytest.approx(evaluate_run(str(swept.kept), data="digits").metrics, abs=1e-6)
    assert result["notes"][0].endswith(f"solved ({solver}, penalty {swept.best['penalty']:g})")


@pytest.mark.parametrize("solver", ["logistic", "ridge"])
def test_weights_of_rows_are_those_of_scikit_learn(solver: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    x = draw.normal(size=(150, 3))
    label = np.where(x[:, 0] + draw.normal(size=150) > 0, "p", "q")
    table = pd.DataFrame({**dict(zip("abc", x.T, strict=True)), "weight": draw.integers(0, 4, 150), "label": label})
    own = {"data": table, "target": "label", "sample_weight": "weight", "random_weights": True, "seed": 3}
    swept = sweep(
        "mlp:6", **own, freeze="!output", solver=solver, penalty=0.01, folds=3, keep="best", precision="float64",
        device="cpu", cache_dir=tmp_path / "cache",
    )  # fmt: skip
    data = load(table, target="label", sample_weight="weight", seed=3)
    pool, divisions = divide(data, {None: (data.train.rows, data.valid.rows)}, 3, seed=3)
    seen, targets = features(str(swept.kept), pool.train)
    weights = table["weight"].to_numpy()[pool.train.rows]
    for one, division in zip(swept.configurations, divisions, strict=True):
        train, valid = division.train.numpy(), division.valid.numpy()
        alpha = 0.01 * weights[train].sum()
        theirs = (
            RidgeClassifier(alpha=alpha)
            if solver == "ridge"
            else LogisticRegression(C=2 / alpha, tol=1e-8, max_iter=10_000)  # of two classes they have one row
        ).fit(seen[train], targets[train], sample_weight=weights[train])
        assert one["valid"]["accuracy"] == pytest.approx(theirs.score(seen[valid], targets[valid]))
        if one["number"] == swept.best["number"]:
            kept = load_tensors_file(Path(str(swept.kept)) / WEIGHTS)["output.weight"].numpy()
            of_one = kept[1] - kept[0] if solver == "logistic" else kept[1]
            assert of_one == pytest.approx(np.ravel(theirs.coef_), abs=1e-2 * abs(theirs.coef_).max())


def test_folds_and_numbers_of_labels_are_sets_of_rows(common: dict[str, Any]) -> None:
    swept = sweep(**common, labels="60,150", folds=3, solver="logistic", penalty=PENALTIES, keep="best")
    assert len(swept.configurations) == 2 * 2 * 3
    assert [row["heads"] for row in swept.table] == [3] * 4
    assert swept.table[0]["accuracy"] >= swept.table[-1]["accuracy"]
    assert all(one["iterations"] >= 1 and "best_epoch" not in one for one in swept.configurations)
    rows = {n: load("digits", labels=n) for n in (60, 150)}
    own = {n: (some.train.rows, some.valid.rows) for n, some in rows.items()}
    pool, divisions = divide(load("digits"), dict(own), 3, seed=0)
    best = next(one for one in swept.configurations if one["number"] == swept.best["number"])
    (division,) = (d for d in divisions if (d.labels, d.fold) == (best["labels"], best["fold"]))
    x, y = features(str(swept.kept), pool.train)
    train, valid = division.train.numpy(), division.valid.numpy()
    theirs = LogisticRegression(C=1 / (best["penalty"] * train.sum()), tol=1e-8, max_iter=10_000).fit(
        x[train], y[train]
    )
    kept = load_tensors_file(Path(str(swept.kept)) / WEIGHTS)["output.weight"].numpy()
    assert kept == pytest.approx(theirs.coef_, abs=1e-2 * abs(theirs.coef_).max())
    assert best["valid"]["accuracy"] == pytest.approx(theirs.score(x[valid], y[valid]))


def test_numbers_are_solved_by_ridge(common: dict[str, Any]) -> None:
    settings = {"data": "diabetes", "random_weights": True, "source": "mlp:16,8", "metric": "mse"}
    swept = sweep(**{**common, **settings}, solver="ridge", penalty="1e-6,1e3")
    assert [row["penalty"] for row in swept.table] == [1e-6, 1e3]
    data = load("diabetes")
    assert data.valid.targets is not None
    assert data.train.targets is not None
    always_the_mean = Ridge().fit(np.zeros((len(data.train), 1)), data.train.targets.numpy())
    expected = (always_the_mean.intercept_ - data.valid.targets.numpy()) ** 2
    assert swept.table[1]["mse"] == pytest.approx(expected.mean(), rel=1e-2)
    with pytest.raises(UsageError, match="choose ridge"):
        sweep(**{**common, **settings, "out": None}, solver="logistic")


def test_both_solvers_in_one_table(common: dict[str, Any]) -> None:
    swept = sweep(**common, labels=60, solver="logistic,ridge")
    assert {(row["solver"], row["penalty"]) for row in swept.table} == {
        (solver, 10.0**power) for solver in ("logistic", "ridge") for power in range(-6, 1)
    }
    assert {row["iterations"] for row in swept.table if row["solver"] == "ridge"} == {1}


def test_says_what_has_not_converged(common: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "solve_logistic", partial(solve_logistic, max_iterations=2))
    sweep(**common, labels=60, solver="logistic", penalty="1e-6", reporter=(heard := Listener()))
    assert heard.said("1e-06 has not converged in 2 iterations")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"solver": "newton"}, "unknown solver 'newton'"),
        ({"penalty": 1.0, "solver": None}, "name a solver"),
        ({"penalty": "-1"}, "-1 is among the penalties"),
        ({"penalty": "much"}, "give numbers"),
        ({"head": "mlp:8"}, "linear heads"),
        ({"schedule": "cosine"}, "takes no schedule"),
        ({"optimizer": "sgd"}, "takes no optimizer"),
        ({"learning_rate": [0.1, 0.2]}, "takes no learning_rate"),
        ({"seeds": 2}, "takes no seeds"),
        ({"epochs": 3}, "takes no epochs"),
        ({"label_smoothing": 0.1}, "takes no label_smoothing"),
        ({"freeze": "hidden1"}, "freeze everything below it"),
        ({"mixup": 0.2}, "takes no mixup"),
    ],
)
def test_refuses_with_one_clear_line(common: dict[str, Any], given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        sweep(**{**common, "labels": 50, "solver": "logistic", **given})

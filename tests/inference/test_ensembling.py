"""Ensembles of runs against their members' predictions and scikit-learn's metrics."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from reuse import load, load_model
from reuse.errors import DataError, UsageError
from reuse.inference.ensembling import ensemble_runs, evaluate_ensemble, measure
from reuse.inference.predicting import evaluate_run, predict_run
from reuse.pretraining.pretrain import pretrain


def train(out: str, model: str = "mlp:8", **settings: Any) -> str:
    chosen = {"data": "iris", "epochs": 15, "learning_rate": 0.01, "split_seed": 3, **settings}
    return pretrain("supervised", model=model, out=out, **chosen).run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three runs of different seeds and models on one split."""
    folder = tmp_path_factory.mktemp("runs")
    return [train(f"{folder}/{seed}", model, seed=seed) for seed, model in enumerate(["mlp:8", "mlp:8", "mlp:5,4"])]


def test_the_ensemble_predicts_the_mean_of_its_members(runs: list[str]) -> None:
    ensemble = ensemble_runs(runs)
    found = ensemble.predict("iris")
    each = [predict_run(run, data="iris") for run in runs]
    torch.testing.assert_close(found.values, torch.stack([one.values for one in each]).mean(0))
    assert found.header == each[0].header
    assert [line[0] for line in found.lines()] == list(range(150))


def test_metrics_are_those_of_the_mean_on_the_test_rows(runs: list[str]) -> None:
    found = evaluate_ensemble(runs)
    test = load("iris", split_seed=3).test
    mean = torch.stack([load_model(run).values(test.inputs) for run in runs]).double().mean(0)
    assert test.targets is not None
    assert found.rows == len(test)
    assert found.metrics["loss"] == pytest.approx(
        reference.log_loss(test.targets, mean / mean.sum(1, keepdim=True)), rel=1e-4
    )
    assert found.metrics["accuracy"] == pytest.approx(reference.accuracy_score(test.targets, mean.argmax(1)))
    for run, member in zip(runs, found.members, strict=True):
        assert member["metrics"] == pytest.approx(evaluate_run(run).metrics, rel=1e-4)
        assert member["weight"] == pytest.approx(1 / 3)
    assert found.to_dict()["members"][0]["run"] == runs[0]
    assert found.run == " + ".join(runs)


def test_a_mix_is_no_worse_on_the_validation_rows_than_any_member_or_the_mean(runs: list[str]) -> None:
    mixed, plain = ensemble_runs(runs, mix=True), ensemble_runs(runs)
    best = mixed.evaluate(split="valid").metrics["loss"]
    others = plain.evaluate(split="valid")
    assert best <= others.metrics["loss"] + 1e-6
    assert best <= min(member["metrics"]["loss"] for member in others.members) + 1e-6
    assert mixed.weights != plain.weights


def test_runs_that_were_split_differently_are_measured_where_none_has_trained(runs: list[str], tmp_path: Any) -> None:
    other = train(str(tmp_path / "other"), split_seed=4)
    found = evaluate_ensemble([runs[0], other])
    common = np.intersect1d(load("iris", split_seed=3).test.rows, load("iris", split_seed=4).test.rows)
    assert found.rows == len(common) < 30
    assert any(f"{len(common)} of 30 rows are in the test split of all runs" in note for note in found.notes)
    assert evaluate_ensemble([runs[0], other], data="iris", split="all").rows == 150


def test_traditional_models_are_members_too(runs: list[str]) -> None:
    data = load("iris", split_seed=3)
    x, y = data.train.inputs.resident(), data.train.targets
    assert x is not None
    assert y is not None
    forest = RandomForestClassifier(10, random_state=0).fit(x.numpy(), y.numpy())
    names = np.array(data.classes)[y.numpy()]
    backwards = LogisticRegression().fit(x.numpy(), names)
    found = ensemble_runs([forest, runs[0], backwards], mix=True).evaluate()
    test = data.test.inputs.resident()
    assert test is not None
    for member, model in ((found.members[0], forest), (found.members[2], backwards)):
        truth = np.asarray(data.test.targets)
        truth = truth if model is forest else np.array(data.classes)[truth]
        assert member["metrics"]["accuracy"] == pytest.approx(model.score(test.numpy(), truth))
    assert [member["run"] for member in found.members] == ["RandomForestClassifier", runs[0], "LogisticRegression"]
    strange = LogisticRegression().fit(x.numpy(), y.numpy() + 7)
    with pytest.raises(UsageError, match="fitted to the classes 7, 8, 9"):
        ensemble_runs([runs[0], strange]).evaluate()
    with pytest.raises(UsageError, match="LinearRegression gives no probabilities"):
        ensemble_runs([runs[0], LinearRegression().fit(x.numpy(), y.numpy())]).evaluate()


def test_numbers_and_arrays(tmp_path: Any) -> None:
    x = np.random.default_rng(0).normal(size=(80, 3))
    y = x.sum(1)
    settings: dict[str, Any] = {"data": (x, y), "split_seed": 1}
    pair: list[Any] = [train(str(tmp_path / str(seed)), seed=seed, **settings) for seed in range(2)]
    with pytest.raises(UsageError, match="trained on arrays"):
        evaluate_ensemble(pair)
    prepared = load((x, y), split_seed=1).train.inputs.resident()
    assert prepared is not None
    line = LinearRegression().fit(prepared.numpy(), y[load((x, y), split_seed=1).train.rows])
    found = ensemble_runs([*pair, line], data=(x, y), mix=True).evaluate((x, y))
    assert found.members[2]["weight"] == pytest.approx(1, abs=1e-3)  # it is right, and they are not yet
    assert found.metrics["mse"] == pytest.approx(0, abs=1e-3)


def test_several_labels(tmp_path: Any) -> None:
    x = np.random.default_rng(0).normal(size=(80, 3))
    y = (x[:, :2] > 0).astype(np.int64)
    pair = [train(str(tmp_path / str(seed)), seed=seed, data=(x, y)) for seed in range(2)]
    found = evaluate_ensemble(pair, data=(x, y), mix=True)
    values = ensemble_runs(pair, weights=[m["weight"] for m in found.members]).predict((x, None)).values
    test = load((x, y), split_seed=3).test
    assert test.targets is not None
    loss = torch.nn.functional.binary_cross_entropy(values[test.rows], test.targets)
    assert found.metrics["loss"] == pytest.approx(float(loss), rel=1e-4)


def test_probabilities_of_zero_cost_much_and_not_everything() -> None:
    found = measure("classification", torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 0]))
    assert found["accuracy"] == 0.5
    assert 5 < found["loss"] < 20


def test_what_makes_no_ensemble_is_refused(runs: list[str], tmp_path: Any) -> None:
    with pytest.raises(UsageError, match="an ensemble of 1 member: "):
        ensemble_runs(runs[:1])
    with pytest.raises(UsageError, match="exclude each other"):
        ensemble_runs(runs, weights=[1, 1, 1], mix=True)
    with pytest.raises(UsageError, match="one of 0 or more"):
        ensemble_runs(runs, weights=[1, 1])
    with pytest.raises(UsageError, match="needs a run"):
        ensemble_runs([LogisticRegression(), LogisticRegression()])
    fewer = train(str(tmp_path / "fewer"), classes="0-1")
    with pytest.raises(UsageError, match="differ in classes: setosa, versicolor, virginica, and setosa, versicolor"):
        ensemble_runs([runs[0], fewer])
    wine = train(str(tmp_path / "wine"), data="wine")
    with pytest.raises((UsageError, DataError)):
        ensemble_runs([runs[0], wine]).evaluate()

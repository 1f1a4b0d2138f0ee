"""Linear heads as scikit-learn fits them to all features, and encoders as they were drawn or trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from reuse.recipes.experiments import features_of, linear_heads, rows_of, score_linear
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import reuse

NETWORK = {"model": "convnet:4", "activation": "relu"}
X, Y = make_classification(240, 60, n_informative=12, n_classes=3, random_state=0)


@pytest.mark.parametrize("each", [True, False])
def test_a_head_in_the_span_of_its_rows_is_the_one_on_all_features(each: bool) -> None:
    rotated, rotate = linear_heads._rotated(X[:40], each)
    assert rotated.shape == (40, 40)
    scaler = StandardScaler(with_std=each).fit(X[:40])
    scale = 1.0 if each else np.sqrt(((X[:40] - X[:40].mean(0)) ** 2).mean())
    settings = {"C": 0.1, "max_iter": 5000, "tol": 1e-9}
    ours = LogisticRegression(**settings).fit(rotated, Y[:40]).predict_proba(rotate(X[40:]))
    theirs = LogisticRegression(**settings).fit(scaler.transform(X[:40]) / scale, Y[:40])
    np.testing.assert_allclose(ours, theirs.predict_proba(scaler.transform(X[40:]) / scale), atol=1e-5)


def test_test_rows_choose_nothing() -> None:
    labelled = X[:60], Y[:60]
    whole = score_linear(labelled, (X[60:], Y[60:]))
    halves = [score_linear(labelled, (X[a:b], Y[a:b])) for a, b in ((60, 150), (150, 240))]
    assert whole == pytest.approx(np.mean(halves), abs=1e-12)


def test_features_are_those_of_the_run(tmp_path: Path) -> None:
    data = reuse.load("digits", labels=60)
    run = reuse.pretrain("autoencoder", data="digits", **NETWORK, epochs=1, out=tmp_path / "run").run
    inputs, targets = rows_of(data.train)
    assert len(inputs) == len(targets)
    trained, drawn, again = (features_of(NETWORK, data, run=source, seed=3)(inputs) for source in (run, None, None))
    assert trained.shape == drawn.shape == (len(inputs), trained.shape[1])
    np.testing.assert_array_equal(drawn, again)
    assert not np.array_equal(trained, drawn)
    tuned = reuse.finetune(run, freeze="conv1", data="digits", labels=60, epochs=1, cache=False, out=tmp_path / "tuned")
    with torch.no_grad():
        frozen = reuse.load_model(tuned.run).network.conv1(inputs).flatten(1)  # type: ignore[union-attr, operator]
    np.testing.assert_allclose(frozen.numpy(), trained, atol=1e-6)


def test_features_are_of_layers_too_that_were_trained_one_after_the_other(tmp_path: Path) -> None:
    """The lower ones, frozen at last, are in a file of their own where they are large."""
    network, data = {"model": "mlp:4200,4", "activation": "sigmoid"}, reuse.load("digits", labels=60)
    run = reuse.pretrain("dbn", data="digits", **network, epochs=2, out=tmp_path / "run").run
    assert (tmp_path / "run" / "frozen.safetensors").exists()
    inputs, _ = rows_of(data.train)
    tuned = reuse.finetune(run, freeze="hidden*", data="digits", labels=60, epochs=1, out=tmp_path / "tuned")
    network_of_run = reuse.load_model(tuned.run).network
    with torch.no_grad():
        frozen = network_of_run.hidden2(network_of_run.hidden1(inputs.flatten(1)))  # type: ignore[operator]
    np.testing.assert_allclose(frozen.numpy(), features_of(network, data, run=run)(inputs), atol=1e-6)

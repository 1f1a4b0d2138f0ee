"""Probes of layers: against scikit-learn's logistic regression, and what chooses them."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from reuse.errors import DataError
from reuse.heads.layer_probing import ProbedRows, probe_layer, probe_together
from reuse.intervals import wilson_interval

RNG = np.random.default_rng(0)
X = RNG.normal(2, 3, size=(120, 30)).astype(np.float32)
X[:, 29] = 7.0  # it says nothing
Y = (X[:, :3] + RNG.normal(size=(120, 3))).argmax(1)
TRAIN = torch.arange(120) < 80
ROWS = ProbedRows(torch.from_numpy(Y), 3, [(TRAIN, ~TRAIN)])


def test_a_layer_is_probed_by_the_logistic_regression_that_validates_best() -> None:
    found = probe_layer(torch.from_numpy(X), ROWS)
    scaler = StandardScaler().fit(X[:80])
    x, scores = scaler.transform(X), {}
    for penalty in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        model = LogisticRegression(C=1 / (penalty * 80), max_iter=5000, tol=1e-8).fit(x[:80], Y[:80])
        scores[penalty] = model.score(x[80:], Y[80:])
    assert found.accuracy == pytest.approx(max(scores.values()))
    assert scores[found.penalty] == max(scores.values())
    best = LogisticRegression(C=1 / (found.penalty * 80), max_iter=5000, tol=1e-8).fit(x[:80], Y[:80])
    outputs = torch.from_numpy(X) @ found.weight.T + found.bias
    assert np.allclose(outputs.softmax(1), best.predict_proba(x), atol=0.02)
    assert found.correct(torch.from_numpy(X[80:]), torch.from_numpy(Y[80:])) == round(40 * found.accuracy)


def test_together_the_columns_that_matter_are_kept_and_the_others_have_no_weight() -> None:
    found = probe_together(torch.from_numpy(X), ROWS, fractions=(0.1, 0.5))
    used = found.weight.abs().sum(0) > 0
    assert used.sum() == found.kept
    assert found.kept in (3, 15)
    assert set(used.nonzero()[:, 0].tolist()) >= {0, 1, 2}


def test_no_validation_row_is_fitted() -> None:
    """Whatever the validation rows are labelled, the probe is what the training rows make of it."""
    one = probe_together(torch.from_numpy(X), ROWS, fractions=(0.1,))
    swapped = torch.from_numpy(np.where(np.arange(120) < 80, Y, (Y + 1) % 3))
    other = probe_together(torch.from_numpy(X), ProbedRows(swapped, 3, ROWS.divisions), fractions=(0.1,))
    assert torch.equal(one.weight != 0, other.weight != 0)
    assert one.accuracy > other.accuracy


def test_folds_take_turns_and_then_all_rows_are_fitted() -> None:
    folds = [(torch.arange(120) % 4 != fold, torch.arange(120) % 4 == fold) for fold in range(4)]
    found = probe_layer(torch.from_numpy(X), ProbedRows(torch.from_numpy(Y), 3, folds))
    scaler = StandardScaler().fit(X)
    model = LogisticRegression(C=1 / (found.penalty * 120), max_iter=5000, tol=1e-8).fit(scaler.transform(X), Y)
    outputs = torch.from_numpy(X) @ found.weight.T + found.bias
    assert np.allclose(outputs.softmax(1), model.predict_proba(scaler.transform(X)), atol=0.02)


def test_without_validation_rows_nothing_can_be_chosen() -> None:
    with pytest.raises(DataError, match="no validation rows"):
        probe_layer(torch.from_numpy(X), ProbedRows(torch.from_numpy(Y), 3, [(TRAIN, TRAIN & False)]))


def test_the_interval_is_wilsons() -> None:
    z, share, rows = norm.ppf(0.975), 45 / 60, 60
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    assert wilson_interval(45, 60) == pytest.approx((middle - half, middle + half))


def test_a_weighted_probe_is_scikit_learns_with_weights_and_that_of_rows_repeated() -> None:
    counts = np.random.default_rng(3).integers(0, 4, 120)
    rows = ProbedRows(torch.from_numpy(Y), 3, ROWS.divisions, torch.from_numpy(counts.astype(np.float64)))
    found = probe_layer(torch.from_numpy(X), rows)
    scaler = StandardScaler().fit(X[:80], sample_weight=counts[:80])
    model = LogisticRegression(C=1 / (found.penalty * counts[:80].sum()), max_iter=5000, tol=1e-8)
    model.fit(scaler.transform(X[:80]), Y[:80], sample_weight=counts[:80])
    outputs = torch.from_numpy(X) @ found.weight.T + found.bias
    assert np.allclose(outputs.softmax(1), model.predict_proba(scaler.transform(X)), atol=0.02)
    times = np.where(np.arange(120) < 80, counts, 1)
    every = np.repeat(np.arange(120), times)
    train = torch.from_numpy(every < 80)
    for probe, more in ((probe_layer, {}), (probe_together, {"fractions": (0.1, 0.5)})):
        own = probe(torch.from_numpy(X), rows, **more)
        repeated = ProbedRows(torch.from_numpy(Y[every]), 3, [(train, ~train)])
        plain = probe(torch.from_numpy(X[every]), repeated, **more)
        assert (own.penalty, own.kept, own.accuracy) == (plain.penalty, plain.kept, plain.accuracy)
        torch.testing.assert_close(own.weight, plain.weight, rtol=1e-2, atol=1e-3)

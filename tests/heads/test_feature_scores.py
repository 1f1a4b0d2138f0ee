"""Scores of features: against scikit-learn's neighbours and linear models, and ranks that are known."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import NearestNeighbors

from reuse.heads.feature_scores import effective_rank, score_linear, score_neighbours

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 90)
FEATURES = RANDOM.normal(size=(90, 5)) + 0.9 * np.eye(5)[LABELS]
NUMBERS = FEATURES[:, :2] + 0.3 * RANDOM.normal(size=(90, 2))


def test_neighbours_are_scikit_learns_without_the_row_itself() -> None:
    nearest = NearestNeighbors(n_neighbors=21, metric="cosine").fit(FEATURES).kneighbors(FEATURES)[1][:, 1:]
    counts = np.stack([(LABELS[nearest] == label).sum(1) for label in range(3)], 1)
    found = score_neighbours(torch.from_numpy(FEATURES), torch.from_numpy(LABELS), 3)
    assert found == pytest.approx((counts.argmax(1) == LABELS).mean(), abs=1e-9)
    of_numbers = score_neighbours(torch.from_numpy(FEATURES), torch.from_numpy(NUMBERS), 0)
    assert of_numbers == pytest.approx(r2_score(NUMBERS, NUMBERS[nearest].mean(1)), abs=1e-9)


def test_the_linear_probe_is_scikit_learns_on_halves() -> None:
    standard = (FEATURES - FEATURES.mean(0)) / FEATURES.std(0)
    told, numbers, penalty = np.empty(90, int), np.empty((90, 2)), 1e-3 * 45
    for half in (0, 1):
        fit, test = slice(half, None, 2), slice(1 - half, None, 2)
        told[test] = LogisticRegression(C=1 / penalty, tol=1e-8).fit(standard[fit], LABELS[fit]).predict(standard[test])
        numbers[test] = Ridge(alpha=penalty).fit(standard[fit], NUMBERS[fit]).predict(standard[test])
    features = torch.from_numpy(FEATURES)
    assert score_linear(features, torch.from_numpy(LABELS), 3) == pytest.approx((told == LABELS).mean(), abs=1e-9)
    assert score_linear(features, torch.from_numpy(NUMBERS), 0) == pytest.approx(r2_score(NUMBERS, numbers), abs=1e-6)


def test_the_effective_rank_of_what_is_known() -> None:
    drawn = torch.from_numpy(RANDOM.normal(size=(50, 6)))
    axes = torch.linalg.qr(drawn - drawn.mean(0)).Q
    assert effective_rank(axes) == pytest.approx(6)
    assert effective_rank(axes[:, :1] @ torch.ones(1, 6, dtype=torch.float64) + 3) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.full((50, 6), 7.0)) == 0
    assert effective_rank(1000 * axes) == pytest.approx(6)

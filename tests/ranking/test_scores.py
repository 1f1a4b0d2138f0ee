"""Scores of transferability against float64 references that are written otherwise, and by what must hold of them."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, rankdata
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import accuracy_score, r2_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from reuse.errors import UnknownNameError, UsageError
from reuse.ranking.h_score import score_h, score_shrunk_h
from reuse.ranking.leep import score_leep
from reuse.ranking.logme import score_logme
from reuse.ranking.nce import score_nce
from reuse.ranking.neighbours import score_nearest
from reuse.ranking.parc import score_parc
from reuse.ranking.scores import SCORES, JudgingRows, choose_scores, compute_scores
from reuse.ranking.sfda import score_sfda

CLASSES = 3


def drawn(rows: int = 60, columns: int = 5, apart: float = 1.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features whose classes lie apart, and the classes."""
    random = np.random.default_rng(seed)
    targets = np.arange(rows) % CLASSES
    centres = random.normal(size=(CLASSES, columns)) * apart
    return torch.from_numpy(centres[targets] + random.normal(size=(rows, columns))), torch.from_numpy(targets)


def probabilities(rows: int = 60, classes: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(classes), size=rows))


def log_evidence(features: np.ndarray, target: np.ndarray) -> float:
    """Return the maximum of log p(y), the density of the normal distribution with covariance FFᵀ/α + I/β, by search."""

    def negative(logs: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        covariance = features @ features.T / alpha + np.eye(len(target)) / beta
        return -float(multivariate_normal.logpdf(target, cov=covariance))

    settings: dict[str, Any] = {"method": "Nelder-Mead", "options": {"xatol": 1e-6, "fatol": 1e-9}}
    return -min(minimize(negative, start, **settings).fun for start in ((-1.0, 1.0), (4.0, 1.0)))


@pytest.mark.parametrize("columns", [3, 30])  # fewer than rows, and more
def test_logme_is_the_greatest_evidence(columns: int) -> None:
    features, targets = drawn(rows=20, columns=columns)
    every = [log_evidence(features.numpy(), (targets == c).double().numpy()) for c in range(CLASSES)]
    assert score_logme(features, targets, CLASSES) == pytest.approx(np.mean(every) / 20, rel=1e-5)


def test_logme_of_numbers() -> None:
    features, _ = drawn(rows=30)
    numbers = features @ torch.tensor([1.0, -2.0, 0, 0, 0], dtype=torch.float64) + 0.3 * drawn(30, 1, seed=5)[0][:, 0]
    assert score_logme(features, numbers[:, None], 0) == pytest.approx(
        log_evidence(features.numpy(), numbers.numpy()) / 30, rel=1e-5
    )


def test_logme_takes_features_that_tell_nothing_or_all() -> None:
    features, targets = drawn()
    assert math.isfinite(score_logme(torch.zeros(60, 3), targets, CLASSES))
    exact = torch.nn.functional.one_hot(targets, CLASSES).double()
    assert score_logme(exact, targets, CLASSES) > score_logme(features, targets, CLASSES)


def test_leep_by_loops() -> None:
    theta, (_, targets) = probabilities().numpy(), drawn()
    y = targets.numpy()
    joint = np.zeros((CLASSES, theta.shape[1]))
    for row, label in enumerate(y):
        for z in range(theta.shape[1]):
            joint[label, z] += theta[row, z] / len(y)
    total = 0.0
    for row, label in enumerate(y):
        told = 0.0
        for z in range(theta.shape[1]):
            told += joint[label, z] / joint[:, z].sum() * theta[row, z]
        total += math.log(told)
    assert score_leep(torch.from_numpy(theta), targets, CLASSES) == pytest.approx(total / len(y), rel=1e-9)


def test_nce_by_loops() -> None:
    theta, (_, targets) = probabilities(), drawn()
    source, y = theta.numpy().argmax(1), targets.numpy()
    entropy = 0.0
    for z in set(source):
        for label in range(CLASSES):
            both = np.mean((source == z) & (y == label))
            if both:
                entropy -= both * math.log(both / np.mean(source == z))
    assert score_nce(theta, targets, CLASSES) == pytest.approx(-entropy, rel=1e-9)


def test_a_source_with_the_very_labels_is_told_all_by_them() -> None:
    _, targets = drawn()
    sure = torch.nn.functional.one_hot(targets, CLASSES).double()
    assert score_leep(sure, targets, CLASSES) == pytest.approx(0)
    assert score_nce(sure, targets, CLASSES) == pytest.approx(0)
    blind = torch.full((60, 4), 0.25)  # tells no more than the shares of the classes
    assert score_leep(blind, targets, CLASSES) == pytest.approx(-math.log(3))


def class_means(features: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([features[y == label].mean(0) for label in y])


def test_h_score_by_covariances() -> None:
    features, targets = drawn()
    x, y = features.numpy(), targets.numpy()
    expected = np.trace(np.linalg.solve(np.cov(x.T), np.cov(class_means(x, y).T)))
    assert score_h(features, targets, CLASSES) == pytest.approx(expected, rel=1e-9)
    twice = torch.cat([features, features], 1)  # a covariance without an inverse
    assert score_h(twice, targets, CLASSES) == pytest.approx(expected, rel=1e-6)


def test_h_score_does_not_depend_on_the_axes() -> None:
    features, targets = drawn()
    turned = features @ drawn(5, 5, seed=3)[0] + 7
    assert score_h(turned, targets, CLASSES) == pytest.approx(score_h(features, targets, CLASSES), rel=1e-8)


def test_shrunk_h_by_scikit_learns_covariance() -> None:
    features, targets = drawn(rows=30, columns=20)
    x, y = features.numpy(), targets.numpy()
    fitted = LedoitWolf().fit(x)
    between = np.cov(class_means(x, y).T, bias=True)
    expected = (1 - fitted.shrinkage_) * np.trace(np.linalg.solve(fitted.covariance_, between))
    assert 0 < fitted.shrinkage_ < 1
    assert score_shrunk_h(features, targets, CLASSES) == pytest.approx(expected, rel=1e-8)


def test_parc_by_loops() -> None:
    features, targets = drawn(rows=15)
    x, y = features.numpy(), targets.numpy()
    x = (x - x.mean(0)) / x.std(0)
    own, theirs = [], []
    for i in range(len(x)):
        for j in range(i):
            a, b = x[i] - x[i].mean(), x[j] - x[j].mean()
            own.append(1 - a @ b / math.sqrt((a @ a) * (b @ b)))
            theirs.append(float(y[i] != y[j]))
    expected = 100 * np.corrcoef(rankdata(own), rankdata(theirs))[0, 1]
    assert score_parc(features, targets, CLASSES) == pytest.approx(expected, rel=1e-9)


def test_sfda_by_scikit_learns_discriminant() -> None:
    """The discriminant is scikit-learn's with that shrinkage; the mixing is written row by row."""
    features, targets = drawn(rows=90, apart=0.5)
    x, y = features.numpy(), targets.numpy()
    within = np.cov((x - class_means(x, y)).T, bias=True)
    shrinkage = math.exp(-5 * np.linalg.eigvalsh(within).max())

    def told(rows: np.ndarray) -> np.ndarray:
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(rows, y)
        # scikit-learn shrinks each class's covariance before their mean is taken, towards its own trace
        covariance = (1 - shrinkage) * np.cov((rows - class_means(rows, y)).T, bias=True)
        covariance += shrinkage * np.trace(np.cov((rows - class_means(rows, y)).T, bias=True)) / 5 * np.eye(5)
        np.testing.assert_allclose(lda.covariance_, covariance, rtol=1e-8)
        return np.asarray(lda.predict_proba(rows))

    first, mixed = told(x), np.empty_like(x)
    means = np.stack([x[y == label].mean(0) for label in range(CLASSES)])
    for row, label in enumerate(y):
        q = math.exp(first[row, label]) / np.exp(first[row]).sum()
        others = np.mean([means[c] for c in range(CLASSES) if c != label], axis=0)
        mixed[row] = q * x[row] + (1 - q) * others
    expected = told(mixed)[np.arange(len(y)), y].mean()
    assert score_sfda(features, targets, CLASSES) == pytest.approx(expected, rel=1e-6)


def test_sfda_of_more_columns_than_rows_is_that_of_the_rows_alone() -> None:
    """Turned and filled up with nothing, features tell the same; the regularisation counts the columns."""
    features, targets = drawn(rows=30, columns=50)
    turn = torch.linalg.qr(drawn(50, 50, seed=3)[0])[0]
    assert score_sfda(features @ turn, targets, CLASSES) == pytest.approx(score_sfda(features, targets, CLASSES))


def test_nearest_is_scikit_learns_leave_one_out() -> None:
    features, targets = drawn()
    x, y = features.numpy(), targets.numpy()
    numbers = x[:, :2] ** 2
    classes, told = [], []
    for row in range(len(x)):
        others = np.arange(len(x)) != row
        settings: dict[str, Any] = {"n_neighbors": 1, "metric": "cosine"}
        classes.append(KNeighborsClassifier(**settings).fit(x[others], y[others]).predict(x[row : row + 1])[0])
        told.append(KNeighborsRegressor(**settings).fit(x[others], numbers[others]).predict(x[row : row + 1])[0])
    assert score_nearest(features, targets, CLASSES) == pytest.approx(np.mean(np.array(classes) == y))
    assert score_nearest(features, torch.from_numpy(numbers), 0) == pytest.approx(r2_score(numbers, np.array(told)))


@pytest.mark.parametrize("name", [name for name, score in SCORES.items() if not score.of_source])
def test_features_that_tell_classes_apart_score_higher(name: str) -> None:
    near, far = (drawn(rows=120, apart=apart) for apart in (0.1, 3.0))
    compute = SCORES[name].compute
    assert compute(*far, CLASSES) > compute(*near, CLASSES)


@pytest.mark.parametrize("name", [name for name, score in SCORES.items() if not score.of_source])
def test_the_order_of_rows_and_a_constant_column_do_not_matter(name: str) -> None:
    features, targets = drawn(rows=90)
    order = torch.from_numpy(np.random.default_rng(0).permutation(90))
    compute = SCORES[name].compute
    assert compute(features[order], targets[order], CLASSES) == pytest.approx(compute(features, targets, CLASSES))
    constant = torch.cat([features, torch.zeros(90, 1)], 1)
    assert math.isfinite(compute(constant, targets, CLASSES))


def test_scores_are_chosen() -> None:
    assert list(choose_scores(None, numbers=False)) == list(SCORES)
    assert list(choose_scores(None, numbers=True)) == ["logme", "nearest"]
    assert list(choose_scores("leep, logme", numbers=False)) == ["leep", "logme"]
    assert choose_scores("none", numbers=False) == {}
    with pytest.raises(UsageError, match="leep is a score for classes, and the targets are numbers: take logme, near"):
        choose_scores(["leep"], numbers=True)
    with pytest.raises(UnknownNameError, match="logme"):
        choose_scores("logmee", numbers=False)


def test_a_source_without_classes_has_no_scores_of_them() -> None:
    features, targets = drawn()
    found = compute_scores(SCORES, features, None, JudgingRows(targets, CLASSES))
    assert [name for name, value in found.items() if value is None] == ["leep", "nce"]


COUNTS = torch.from_numpy(np.random.default_rng(7).integers(1, 5, 60).astype(np.float64))


@pytest.mark.parametrize("name", [name for name, score in SCORES.items() if score.of_weights and name != "nearest"])
def test_rows_of_a_weight_count_as_if_they_were_repeated(name: str) -> None:
    score = SCORES[name]
    given, (_, targets) = probabilities() if score.of_source else drawn()[0], drawn()
    every = COUNTS.long()
    repeated = score.compute(given.repeat_interleave(every, 0), targets.repeat_interleave(every), CLASSES)
    assert score.compute(given, targets, CLASSES, weights=COUNTS) == pytest.approx(repeated, rel=1e-7)
    assert score.compute(given, targets, CLASSES, weights=torch.ones(60).double()) == pytest.approx(
        score.compute(given, targets, CLASSES), rel=1e-9
    )


def test_logme_of_numbers_counts_weights() -> None:
    features, _ = drawn()
    numbers = features[:, :2] + drawn(columns=2, seed=5)[0]
    every = COUNTS.long()
    repeated = score_logme(features.repeat_interleave(every, 0), numbers.repeat_interleave(every, 0), 0)
    assert score_logme(features, numbers, 0, COUNTS) == pytest.approx(repeated, rel=1e-7)


def test_what_the_nearest_rows_tell_is_weighted_as_by_scikit_learn() -> None:
    features, targets = drawn()
    numbers = features[:, :2] + drawn(columns=2, seed=5)[0]
    unit = features / features.norm(dim=1, keepdim=True)
    nearest = (unit @ unit.T).fill_diagonal_(-2).argmax(1)
    accuracy = accuracy_score(targets.numpy(), targets[nearest].numpy(), sample_weight=COUNTS.numpy())
    assert score_nearest(features, targets, CLASSES, COUNTS) == pytest.approx(accuracy)
    r2 = r2_score(numbers.numpy(), numbers[nearest].numpy(), sample_weight=COUNTS.numpy())
    assert score_nearest(features, numbers, 0, COUNTS) == pytest.approx(r2)


def test_scores_that_know_no_weights_are_none() -> None:
    features, targets = drawn()
    found = compute_scores(
        choose_scores(None, numbers=False), features, None, JudgingRows(targets, CLASSES, None, COUNTS)
    )
    assert found["parc"] is found["shrunk_h"] is None
    assert found["h_score"] == score_h(features, targets, CLASSES, COUNTS)

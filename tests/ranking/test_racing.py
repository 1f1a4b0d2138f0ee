"""The race: its probes are scikit-learn's, the best stays, and what plainly loses is dropped early."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import StandardScaler

from reuse.errors import UsageError
from reuse.ranking.racing import PENALTIES, RaceOutcome, divide_rows, probe, race, standardised
from reuse.ranking.scores import JudgingRows

ROWS, CLASSES = 300, 3


def drawn(noise: float, seed: int = 0) -> torch.Tensor:
    """Return features that tell the classes the better the less noise there is."""
    random = np.random.default_rng(seed)
    return torch.from_numpy(np.eye(CLASSES)[np.arange(ROWS) % CLASSES] + noise * random.normal(size=(ROWS, CLASSES)))


LABELLED = JudgingRows(torch.arange(ROWS) % CLASSES, CLASSES)


def nothing(_: int) -> None:
    pass


def test_probes_are_scikit_learns() -> None:
    features = drawn(0.5).numpy()
    x, y = StandardScaler().fit_transform(features), LABELLED.targets.numpy()
    held_out = divide_rows(LABELLED, 5, 0)[0]
    found = probe(standardised(torch.from_numpy(features)), LABELLED, held_out)
    learning = np.setdiff1d(np.arange(ROWS), held_out)
    for penalty, gains, likelihoods in zip(PENALTIES, *found, strict=True):
        theirs = LogisticRegression(C=1 / (penalty * len(learning)), tol=1e-8, max_iter=10_000).fit(
            x[learning], y[learning]
        )
        np.testing.assert_array_equal(gains.numpy(), theirs.predict(x[held_out]) == y[held_out])
        expected = theirs.predict_log_proba(x[held_out])[np.arange(len(held_out)), y[held_out]]
        np.testing.assert_allclose(likelihoods.numpy(), expected, rtol=1e-2, atol=1e-3)


def test_gains_of_numbers_average_to_r2() -> None:
    features, random = drawn(0.5), np.random.default_rng(1)
    numbers = features.numpy() @ [[1.0], [2.0], [3.0]] + 0.2 * random.normal(size=(ROWS, 1))
    rows = JudgingRows(torch.from_numpy(numbers), 0)
    parts = divide_rows(rows, 4, 0)
    (found,) = race([features], rows, parts, nothing)
    x, told = StandardScaler().fit_transform(features.numpy()), np.empty((len(PENALTIES), ROWS))
    for held_out in parts:
        learning = np.setdiff1d(np.arange(ROWS), held_out)
        for place, penalty in enumerate(PENALTIES):
            ridge = Ridge(alpha=penalty * len(learning)).fit(x[learning], numbers[learning, 0])
            told[place, held_out] = ridge.predict(x[held_out])
    r2 = 1 - ((told - numbers[:, 0]) ** 2).mean(1) / numbers.var()
    assert found.score == pytest.approx(r2.max(), rel=1e-8)


def test_folds_part_all_rows_with_their_classes() -> None:
    parts = divide_rows(LABELLED, 5, 3)
    assert sorted(torch.cat(parts).tolist()) == list(range(ROWS))
    assert all(LABELLED.targets[some].bincount().tolist() == [20, 20, 20] for some in parts)


def test_losers_are_dropped_early_and_the_best_is_not() -> None:
    candidates = [drawn(noise, seed) for seed, noise in enumerate((3.0, 0.3, 0.32, 1.0))]
    solved: list[int] = []
    found = race(candidates, LABELLED, divide_rows(LABELLED, 5, 0), solved.append)
    assert [one.dropped for one in found[1:3]] == [None, None]
    assert found[0].dropped == found[3].dropped == 1
    assert found[0].folds == 1
    assert int((~found[0].gains.isnan()).sum()) == ROWS // 5
    assert sum(solved) == 4 * 5
    assert found[1].interval < found[0].interval


def test_equals_stay_together() -> None:
    same = race([drawn(0.5)] * 3, LABELLED, divide_rows(LABELLED, 5, 0), nothing)
    assert {one.dropped for one in same} == {None}
    assert same[0].behind(same[1]) == 0


def test_a_best_one_is_seldom_dropped() -> None:
    """Of candidates that are equally good, each is a best one, and is dropped as seldom as the level says."""
    dropped = 0
    for seed in range(20):
        candidates = [drawn(0.8, seed=100 * seed + own) for own in range(4)]
        found = race(candidates, LABELLED, divide_rows(LABELLED, 3, seed), nothing)
        dropped += sum(one.dropped is not None for one in found)
    assert dropped <= 8  # of 80, by 5 %: more has a probability of 2 %


def test_the_penalty_is_the_likeliest_and_not_the_luckiest() -> None:
    """Of probes whose accuracies are equal, or apart by a row, the one counts that is surest of what is right."""
    features, parts = drawn(0.6), divide_rows(LABELLED, 3, 0)
    (found,) = race([features], LABELLED, parts, nothing)
    every = [probe(standardised(features), LABELLED, held_out) for held_out in parts]
    likelihoods = torch.cat([likely for _, likely in every], 1).mean(1)
    gains = torch.cat([own for own, _ in every], 1).mean(1)
    assert found.score == pytest.approx(float(gains[likelihoods.argmax()]))


def test_regret_is_measured_on_rows_that_both_were_validated_on() -> None:
    nan = torch.nan
    best = RaceOutcome(torch.tensor([1.0, 1.0, 0.0, 1.0]), 2, None)
    early = RaceOutcome(torch.tensor([0.0, 1.0, nan, nan]), 1, 1)
    assert early.behind(best) == 0.5
    assert early.score == 0.5


def test_more_folds_than_rows_are_refused() -> None:
    few = JudgingRows(torch.tensor([0, 0, 0, 0, 1, 1]), 2)
    with pytest.raises(UsageError, match="folds is 5, and there are 2 rows of the smallest class: give fewer folds"):
        divide_rows(few, 5, 0)
    with pytest.raises(UsageError, match="folds is 7, and there are 6 rows"):
        divide_rows(JudgingRows(torch.zeros(6, 1, dtype=torch.float64), 0), 7, 0)


WEIGHTS = torch.from_numpy(np.random.default_rng(2).integers(1, 5, ROWS).astype(np.float64))


def test_weighted_probes_and_their_scores_are_scikit_learns() -> None:
    features = drawn(0.8).numpy()
    weights = WEIGHTS.numpy()
    x = StandardScaler().fit_transform(features, sample_weight=weights)
    y, rows = LABELLED.targets.numpy(), JudgingRows(LABELLED.targets, CLASSES, None, WEIGHTS / WEIGHTS.mean())
    parts = divide_rows(rows, 3, 0)
    (found,) = race([torch.from_numpy(features)], rows, parts, nothing)
    told, likely = np.empty((len(PENALTIES), ROWS), int), np.empty((len(PENALTIES), ROWS))
    for held_out in (part.numpy() for part in parts):
        own = np.setdiff1d(np.arange(ROWS), held_out)
        for place, penalty in enumerate(PENALTIES):
            theirs = LogisticRegression(C=1 / (penalty * weights[own].sum()), tol=1e-8, max_iter=10_000)
            theirs.fit(x[own], y[own], sample_weight=weights[own])
            told[place, held_out] = theirs.predict(x[held_out])
            likely[place, held_out] = theirs.predict_log_proba(x[held_out])[np.arange(len(held_out)), y[held_out]]
    best = int(np.average(likely, axis=1, weights=weights).argmax())
    assert found.score == pytest.approx(accuracy_score(y, told[best], sample_weight=weights), abs=2e-3)


def test_weighted_gains_of_numbers_average_to_r2() -> None:
    features, random, weights = drawn(0.5), np.random.default_rng(1), WEIGHTS.numpy()
    numbers = features.numpy() @ [[1.0], [2.0], [3.0]] + 0.2 * random.normal(size=(ROWS, 1))
    rows = JudgingRows(torch.from_numpy(numbers), 0, None, WEIGHTS)
    parts = divide_rows(rows, 4, 0)
    (found,) = race([features], rows, parts, nothing)
    x, told = StandardScaler().fit_transform(features, sample_weight=weights), np.empty((len(PENALTIES), ROWS))
    for held_out in parts:
        own = np.setdiff1d(np.arange(ROWS), held_out)
        for place, penalty in enumerate(PENALTIES):
            ridge = Ridge(alpha=penalty * weights[own].sum()).fit(x[own], numbers[own, 0], sample_weight=weights[own])
            told[place, held_out] = ridge.predict(x[held_out])
    r2 = [r2_score(numbers[:, 0], one, sample_weight=weights) for one in told]
    assert found.score == pytest.approx(max(r2), rel=1e-8)


def test_a_weighted_probe_is_that_of_rows_repeated() -> None:
    features, every = drawn(0.8), WEIGHTS.long()
    held_out = divide_rows(LABELLED, 3, 0)[0]
    rows = JudgingRows(LABELLED.targets, CLASSES, None, WEIGHTS)
    gains, likelihoods = probe(standardised(features, WEIGHTS), rows, held_out)
    is_held = torch.zeros(ROWS, dtype=torch.bool)
    is_held[held_out] = True
    repeated = JudgingRows(LABELLED.targets.repeat_interleave(every), CLASSES)
    far = is_held.repeat_interleave(every).nonzero()[:, 0]
    plain = probe(standardised(features.repeat_interleave(every, 0)), repeated, far)
    torch.testing.assert_close(likelihoods.repeat_interleave(every[held_out], 1), plain[1], rtol=1e-3, atol=1e-4)
    assert (gains.repeat_interleave(every[held_out], 1) == plain[0]).double().mean() > 0.99


def test_the_interval_of_weighted_rows_is_that_of_as_many_as_they_are_worth() -> None:
    gains = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    plain = RaceOutcome(gains, 2, None)
    assert plain.interval == pytest.approx(1.96 * float(gains.std()) / 2)
    assert RaceOutcome(gains, 2, None, torch.full((4,), 3.0).double()).interval == pytest.approx(plain.interval)
    light = RaceOutcome(torch.cat([gains, gains[:1]]), 2, None, torch.tensor([1, 1, 1, 1, 1e-12]).double())
    assert light.interval == pytest.approx(plain.interval)

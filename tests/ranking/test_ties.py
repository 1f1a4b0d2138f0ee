"""Ties: who is within one standard error of the best probe, and that the evidence of all rows chooses among them."""

import math

import numpy as np
import pytest
import torch

from reuse.ranking.contenders import Contender
from reuse.ranking.logme import score_logme
from reuse.ranking.outcome import Judged, choices_of, ordered
from reuse.ranking.racing import RaceOutcome
from reuse.ranking.scores import SCORES, JudgingRows
from reuse.ranking.ties import evidence_of_tied, tied_with_best

ROWS = 200
LABELLED = JudgingRows(torch.arange(ROWS) % 2, 2)


def right(number: int, first: int = 0, folds: int = 5) -> RaceOutcome:
    """Return an outcome of which all rows were right, but for so many of the first half or the second."""
    gains = torch.ones(ROWS, dtype=torch.float64)
    gains[first : first + number] = 0
    return RaceOutcome(gains, folds, None if folds == 5 else folds)


def contender(name: str, noise: float) -> Contender:
    random = np.random.default_rng(0)
    features = torch.from_numpy(np.eye(2)[np.arange(ROWS) % 2] + noise * random.normal(size=(ROWS, 2)))
    return Contender("model", name, f":{name}", features, 0, None, 10, is_last=False)


def test_one_standard_error_of_the_paired_difference() -> None:
    best, near, far = right(10), right(14, 100), right(20, 100)
    for other, is_tied in ((near, True), (far, False)):
        differences = (best.gains - other.gains).numpy()
        errors = differences.mean() / (differences.std(ddof=1) / math.sqrt(ROWS))
        assert other.errors_behind(best) == pytest.approx(errors)
        assert (errors <= 1) == is_tied
    assert tied_with_best([far, near, best]) == [2, 1]
    assert tied_with_best([right(5, folds=2), near]) == [1]  # what was dropped is not in it
    assert tied_with_best([right(3), right(3)]) == [0, 1]


def test_all_rows_alike_behind_is_no_tie() -> None:
    assert right(ROWS).errors_behind(right(0)) == math.inf
    assert tied_with_best([right(ROWS), right(0)]) == [1]


def test_evidence_chooses_among_tied_ones_alone() -> None:
    every = [contender("plain", 0.5), contender("clear", 0.2), contender("clearest", 0.1)]
    outcomes, none = [right(10), right(12, 100), right(40, 100)], [dict[str, float | None]()] * 3
    evidence = evidence_of_tied(every, outcomes, none, LABELLED)
    assert evidence[2] is None
    assert evidence[:2] == [score_logme(one.features, LABELLED.targets, 2) for one in every[:2]]
    judged = ordered([Judged(*one) for one in zip(every, outcomes, none, evidence, strict=True)])
    assert [one.contender.layer for one in judged] == ["clear", "plain", "clearest"]
    assert [one.to_row("accuracy")["tied"] for one in judged] == [True, True, False]


def test_regret_is_measured_against_the_best_probe() -> None:
    every = [contender("plain", 0.5), contender("clear", 0.2)]
    outcomes, scored = [right(10), right(12, 100)], [{"logme": 1.0}, {"logme": 2.0}]
    evidence = evidence_of_tied(every, outcomes, scored, LABELLED)
    assert evidence == [1.0, 2.0]
    judged = ordered([Judged(*one) for one in zip(every, outcomes, scored, evidence, strict=True)])
    by_logme, _ = choices_of(judged, {"logme": SCORES["logme"]})
    assert (by_logme.layer, by_logme.regret) == ("clear", pytest.approx(2 / ROWS))

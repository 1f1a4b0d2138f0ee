"""Scores equal those that the rest of the program measures, and scikit-learn's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    mean_squared_error,
    r2_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from reports.conftest import outcome_of, subject_of
from reuse.errors import UsageError
from reuse.inference.ensembling import measure
from reuse.reports.outcome import Outcome
from reuse.reports.scores import score_intervals, scorer_of


def all_scores(outcome: Outcome) -> dict[str, float]:
    return dict(scorer_of(outcome)(np.arange(len(outcome.numbers))))


def measured(outcome: Outcome) -> dict[str, float]:
    values, targets = torch.from_numpy(outcome.values), torch.from_numpy(outcome.targets)
    return measure(outcome.task, values, targets)


def test_scores_of_classes(runs: Path) -> None:
    outcome = outcome_of(runs / "frozen")
    truth, predicted = outcome.targets, outcome.values.argmax(1)
    every = np.arange(10)
    assert all_scores(outcome) == pytest.approx(
        {
            "loss": log_loss(truth, outcome.values / outcome.values.sum(1, keepdims=True), labels=every),
            "accuracy": accuracy_score(truth, predicted),
            "macro_f1": f1_score(truth, predicted, average="macro"),
        },
        rel=1e-6,
    )
    assert all_scores(outcome) == pytest.approx(measured(outcome), rel=1e-6)


def test_scores_of_labels(labels: Path) -> None:
    outcome = outcome_of(labels)
    assert all_scores(outcome) == pytest.approx(measured(outcome), rel=1e-6)
    truth, given = outcome.targets > 0, outcome.values > 0.5
    assert all_scores(outcome)["macro_f1"] == pytest.approx(f1_score(truth, given, average="macro"))


def test_scores_of_numbers(numbers: Path) -> None:
    outcome = outcome_of(numbers)
    expected = {
        "mse": mean_squared_error(outcome.targets, outcome.values),
        "r2": r2_score(outcome.targets, outcome.values),
    }
    assert all_scores(outcome) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["frozen", "free"])
def test_they_are_the_scores_that_the_run_recorded(runs: Path, name: str) -> None:
    subject = subject_of(runs / name)
    assert subject.outcome is not None
    assert all_scores(subject.outcome) == pytest.approx(subject.record.metrics["test"], rel=1e-5)


def test_intervals_hold_the_scores(runs: Path) -> None:
    outcome = outcome_of(runs / "frozen")
    intervals = score_intervals(outcome)
    for name, value in all_scores(outcome).items():
        assert intervals[name].low < value < intervals[name].high
    rows, right = len(outcome.numbers), int((outcome.values.argmax(1) == outcome.targets).sum())
    expected = binomtest(right, rows).proportion_ci(0.95, method="wilson")
    assert intervals["accuracy"].low == pytest.approx(expected.low)


def test_metrics_that_are_asked_for_stand_beside_the_usual_ones(runs: Path, tmp_path: Path) -> None:
    subject = subject_of(runs / "frozen", metrics=("roc_auc,top_k:2",))
    assert subject.outcome is not None
    scores, outcome = all_scores(subject.outcome), subject.outcome
    auc = roc_auc_score(outcome.targets, outcome.values / outcome.values.sum(1, keepdims=True), multi_class="ovr")
    assert scores["roc_auc"] == pytest.approx(auc, rel=1e-6)
    assert scores["top_k:2"] == pytest.approx(top_k_accuracy_score(outcome.targets, outcome.values, k=2))
    interval = score_intervals(outcome)["roc_auc"]
    assert interval.low < scores["roc_auc"] < interval.high
    with pytest.raises(UsageError, match="mae"):
        subject_of(runs / "frozen", metrics=("mae",))

"""Scores of predictions on any choice of rows, as the objectives have them (see `reuse.objectives.supervised`)."""

import numpy as np

from reuse.inference.pooling import SMALLEST
from reuse.intervals import wilson_interval
from reuse.reports.outcome import Outcome
from reuse.reports.row_intervals import RESAMPLES, Interval, Scorer, bootstrap_intervals
from reuse.runs.models import LIKELY

FEW_RESAMPLES = 200
MANY_ROWS = 50_000


def scorer_of(outcome: Outcome) -> Scorer:
    """Return what scores chosen rows: `accuracy`, `macro_f1` and `loss`, or `r2` and `mse`, and what is asked for."""
    usual = {"classification": _of_classes, "multilabel": _of_labels, "regression": _of_numbers}[outcome.task](outcome)
    values, targets, further = outcome.values, outcome.targets, outcome.further

    def score(places: np.ndarray) -> dict[str, float]:
        more = {name: metric(targets[places], values[places]) for name, metric in further.items()}
        return {**usual(places), **more}

    return score


def resamples_of(outcome: Outcome) -> int:
    """Return how often rows are drawn again: seldom where scores take long."""
    return FEW_RESAMPLES if outcome.further or len(outcome.numbers) > MANY_ROWS else RESAMPLES


def score_intervals(outcome: Outcome) -> dict[str, Interval]:
    """Return the interval of each score; that of a share of right rows by Wilson's formula."""
    score, rows = scorer_of(outcome), len(outcome.numbers)
    intervals = bootstrap_intervals(score, rows, resamples_of(outcome))
    if outcome.task == "classification":
        intervals["accuracy"] = Interval(*wilson_interval(int(outcome.right.sum()), rows))
    return intervals


def row_losses(outcome: Outcome) -> np.ndarray:
    """Return what each row loses: minus the logarithm of its class's probability, or the mean over labels or numbers.

    Of numbers, squared errors, each in units of the spread of the true ones.
    """
    values, targets = outcome.values, outcome.targets
    if outcome.task == "classification":
        losses = -np.log(np.maximum(values[np.arange(len(values)), targets], SMALLEST))
    elif outcome.task == "multilabel":
        shares = np.clip(values, SMALLEST, 1 - SMALLEST)
        losses = -np.where(targets > 0, np.log(shares), np.log1p(-shares)).mean(1)
    else:
        spread = targets.std(0)
        losses = np.square((values - targets) / np.where(spread > 0, spread, 1.0)).mean(1)
    return np.asarray(losses)


def macro_f1(right: np.ndarray, given: np.ndarray, labelled: np.ndarray) -> float:
    """Return the mean F1 over the classes that occur, from counts by class."""
    occurring = given + labelled > 0
    return float((2 * right[occurring] / (given + labelled)[occurring]).mean()) if occurring.any() else 0.0


def _of_classes(outcome: Outcome) -> Scorer:
    losses, right, predicted, targets = row_losses(outcome), outcome.right, outcome.predicted, outcome.targets
    count = len(outcome.classes)

    def score(places: np.ndarray) -> dict[str, float]:
        hits, truth = right[places], targets[places]
        counted = [np.bincount(some, minlength=count) for some in (truth[hits], predicted[places], truth)]
        return {"accuracy": hits.mean(), "macro_f1": macro_f1(*counted), "loss": losses[places].mean()}

    return score


def _of_labels(outcome: Outcome) -> Scorer:
    losses, given, has = row_losses(outcome), outcome.values > LIKELY, outcome.targets > 0

    def score(places: np.ndarray) -> dict[str, float]:
        some, true = given[places], has[places]
        f1 = macro_f1((some & true).sum(0), some.sum(0), true.sum(0))
        return {"accuracy": (some == true).mean(), "macro_f1": f1, "loss": losses[places].mean()}

    return score


def _of_numbers(outcome: Outcome) -> Scorer:
    squares, targets = np.square(outcome.values - outcome.targets), outcome.targets

    def score(places: np.ndarray) -> dict[str, float]:
        errors, spread = squares[places].mean(0), targets[places].var(0)
        varies = spread > 0
        explained = np.where(varies, 1 - errors / np.where(varies, spread, 1.0), errors == 0)
        return {"r2": explained.mean(), "mse": errors.mean()}

    return score

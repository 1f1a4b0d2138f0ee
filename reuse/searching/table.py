"""The table of a sweep: combinations of settings, best first, over seeds and folds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata  # type: ignore[import-untyped]

from reuse.errors import UsageError
from reuse.searching.folds import Label
from reuse.searching.grid import Choice
from reuse.searching.solver_choices import SolverChoice

LOWER_IS_BETTER = ("loss", "mse")
OUTCOMES = ("number", "seed", "fold", "best_epoch", "iterations", "valid")
"""Entries of a head that say which split it had and what it came to; the others are its settings."""
METRICS = {
    "classification": ("accuracy", "macro_f1", "loss"),
    "multilabel": ("accuracy", "macro_f1", "loss"),
    "regression": ("r2", "mse", "loss"),
}
"""The metrics that a sweep can rank by, by task; first what `score` of scikit-learn's estimators gives."""


@dataclass(frozen=True)
class Configuration:
    """One head of a sweep, trained.

    Attributes:
        number: from 0.
        choice: its settings.
        seed: of its initial weights.
        labels: how many labels there were.
        fold: that validated, from 1; None without folds.
        best_epoch: whose weights it has; 0 where its loss was never finite, None of a head that was solved.
        valid: its metrics on its validation rows.
        iterations: of the solver; None of a head that was trained.
    """

    number: int
    choice: Choice | SolverChoice
    seed: int
    labels: Label
    fold: int | None
    best_epoch: int | None
    valid: Mapping[str, float]
    iterations: int | None = None

    @property
    def group(self) -> tuple[Choice | SolverChoice, Label]:
        """The setting that it has in common with its other seeds and folds."""
        return self.choice, self.labels

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        own = {"number": self.number, "seed": self.seed, "labels": self.labels, "fold": self.fold}
        effort = {name: getattr(self, name) for name in _effort(self)}
        return {**own, **asdict(self.choice), **effort, "valid": dict(self.valid)}


def choose_metric(metric: str | None, task: str) -> str:
    """Return the metric to rank by: the one given, or the task's own.

    Raises:
        UsageError: the task has no such metric.
    """
    if metric is not None and metric not in METRICS[task]:
        raise UsageError(f"metric is {metric!r}, and the task is {task}: choose one of {', '.join(METRICS[task])}")
    return METRICS[task][0] if metric is None else metric


def ranked(configurations: Sequence[Configuration], metric: str) -> list[tuple[dict[str, Any], list[Configuration]]]:
    """Return the rows of the table, best first, each with its configurations.

    A row has the mean of `metric` on the validation rows over seeds and folds, and its standard error, which over folds
    is too small, as they share training rows (Bengio & Grandvalet 2004, https://jmlr.org/papers/v5/grandvalet04a.html).
    Where the loss of one of them was never finite the row has none and comes last.
    """
    groups: dict[tuple[Choice | SolverChoice, Label], list[Configuration]] = {}
    for configuration in configurations:
        groups.setdefault(configuration.group, []).append(configuration)
    rows = [(_row(own, metric), own) for own in groups.values()]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return sorted(rows, key=lambda row: math.inf if row[0][metric] is None else sign * row[0][metric])


def best_of(configurations: Sequence[Configuration], metric: str) -> Configuration:
    """Return the one among seeds and folds that has validated best."""
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return min(configurations, key=lambda one: sign * one.valid.get(metric, math.inf * sign))


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and its standard error, None for a single value."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return statistics.fmean(values), error


def cv_results(configurations: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """Return heads as the columns of scikit-learn's `cv_results_`, a row for each combination, in the order tried.

    As there, `test` means the rows that were held out to choose by, and greater scores are better: a loss or squared
    error is negative. A split is a seed and a fold. Where a loss was never finite the score is NaN and ranks last.

    Args:
        configurations: as `Configuration.to_dict` gives them.
        metric: of the scores.
    """
    groups: dict[tuple[tuple[str, Any], ...], list[Mapping[str, Any]]] = {}
    for one in configurations:
        groups.setdefault(tuple((name, one[name]) for name in one if name not in OUTCOMES), []).append(one)
    sign = -1 if metric in LOWER_IS_BETTER else 1
    scores = np.array(
        [
            [sign * math.nan if one.get("best_epoch") == 0 else sign * one["valid"][metric] for one in own]
            for own in groups.values()
        ]
    )
    means, params = scores.mean(axis=1), [dict(group) for group in groups]
    return {
        "params": params,
        **{f"param_{name}": np.array([one[name] for one in params], dtype=object) for name in params[0]},
        **{f"split{number}_test_score": column for number, column in enumerate(scores.T)},
        "mean_test_score": means,
        "std_test_score": scores.std(axis=1),
        "rank_test_score": rankdata(-np.nan_to_num(means, nan=-math.inf), method="min").astype(np.int32),
    }


def _row(own: Sequence[Configuration], metric: str) -> dict[str, Any]:
    first = own[0]
    values = [one.valid.get(metric, math.nan) if one.best_epoch != 0 else math.nan for one in own]
    mean, error = mean_and_error(values) if all(map(math.isfinite, values)) else (None, None)
    efforts = {name: statistics.fmean(getattr(one, name) for one in own) for name in _effort(first)}
    return {
        **asdict(first.choice),
        "labels": first.labels,
        metric: mean,
        "standard_error": error,
        "heads": len(own),
        **efforts,
    }


def _effort(configuration: Configuration) -> tuple[str, ...]:
    """Return what says how long a head took: epochs, or a solver's iterations."""
    return ("best_epoch",) if configuration.iterations is None else ("iterations",)

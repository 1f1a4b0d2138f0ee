"""The table of a sweep: combinations of settings, best first, over seeds and folds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reuse.errors import UsageError
from reuse.searching.folds import Label
from reuse.searching.grid import Choice
from reuse.searching.solver_choices import SolverChoice

LOWER_IS_BETTER = ("loss", "mse")
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

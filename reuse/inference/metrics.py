"""Metrics of predictions that no sum over batches gives, as scikit-learn computes them; asked for by name.

For classes and labels `roc_auc` and `average_precision` are means over them, each against all others; of two classes
that of the second. What all rows are, or none, tells nothing and is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from reuse.errors import UsageError
from reuse.menus import Named, lookup, parse_several
from reuse.runs.models import LIKELY

ALL = "all"
TOP = 5
OVER_CLASSES = {"roc_auc", "average_precision"}

Metric = Callable[[np.ndarray, np.ndarray], float]
"""Of targets and what is predicted, probabilities or numbers `(rows, outputs)`."""


@dataclass(frozen=True)
class FurtherMetrics:
    """Metrics that are asked for beside those of an objective.

    Attributes:
        classes: names of the classes or labels.
        chosen: the metrics, by name.
    """

    classes: tuple[str, ...]
    chosen: Mapping[str, Metric]

    @classmethod
    def named(cls, names: Sequence[str], task: str, classes: tuple[str, ...]) -> "FurtherMetrics":
        """Return metrics by name.

        Args:
            names: of `METRICS` of the task, `top_k` with a number behind a colon; `all` is all of them.
            task: "classification", "multilabel" or "regression".
            classes: names of the classes or labels.

        Raises:
            UsageError: a metric that the task has not, or a number that `top_k` cannot have.
        """
        known, text = METRICS[task], ",".join(names)
        if text.strip() == ALL:
            text = ",".join(name for name in known if name != "top_k" or len(classes) > TOP)
        named = parse_several(text, "metric") if text else []
        functions = [lookup(known, one.name, f"metric of {task}") for one in named]
        pairs = zip(named, functions, strict=True)
        return cls(classes, {str(one): _metric(function, one, len(classes)) for one, function in pairs})

    def measured(self, values: Tensor, targets: Tensor) -> dict[str, float]:
        """Return what they are.

        Args:
            values: probabilities of classes or labels, or numbers in the targets' own units, `(rows, outputs)`.
            targets: class numbers `(rows,)`, labels or numbers `(rows, outputs)`.
        """
        truth, found = targets.numpy(), values.double().numpy()
        return {name: metric(truth, found) for name, metric in self.chosen.items()}

    def notes(self, targets: Tensor) -> tuple[str, ...]:
        """Return a line on the classes or labels that means over them leave out; none where there are none."""
        if not self.classes or not self.chosen.keys() & OVER_CLASSES:
            return ()
        untold = np.flatnonzero(~_varied(_indicator(targets.numpy(), len(self.classes))))
        listed = ", ".join(self.classes[place] for place in untold[:TOP]) + (", …" if len(untold) > TOP else "")
        means = " and ".join(name for name in self.chosen if name in OVER_CLASSES)
        return (f"{means} cannot be told of {listed}, which all rows are or none",) if len(untold) else ()


def _metric(function: Callable[..., float], named: Named, num_outputs: int) -> Metric:
    if named.name != "top_k":
        if named.positions or named.keywords:
            raise UsageError(f"metric {named} takes no number: write {named.name}")
        return function
    count = named.positions[0] if named.positions else TOP
    if type(count) is not int or not 0 < count < num_outputs or len(named.positions) > 1 or named.keywords:
        raise UsageError(f"metric {named} of {num_outputs} classes: give a number below {num_outputs}, as top_k:2")
    return partial(function, count=count)


def _balanced_accuracy(truth: np.ndarray, values: np.ndarray) -> float:
    """Return the mean recall over the classes that occur."""
    from sklearn.metrics import recall_score  # scikit-learn takes a second to import

    occurring = np.unique(truth)
    return float(recall_score(truth, values.argmax(1), labels=occurring, average="macro", zero_division=0.0))


def _top_k(truth: np.ndarray, values: np.ndarray, count: int) -> float:
    """Return the share of rows whose class is among the most probable ones."""
    best = np.argsort(-values, axis=1, kind="stable")[:, :count]
    return float((best == truth[:, None]).any(1).mean())


def _roc_auc(truth: np.ndarray, values: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return _over_outputs(roc_auc_score, truth, values)


def _average_precision(truth: np.ndarray, values: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return _over_outputs(average_precision_score, truth, values)


def _over_outputs(score: Callable[..., float], truth: np.ndarray, values: np.ndarray) -> float:
    """Return the mean of a score of each output; NaN where none can be told."""
    has = _indicator(truth, values.shape[1])
    if truth.ndim == 1 and values.shape[1] == 2:  # noqa: PLR2004, RUF100 - of two classes one says all
        has, values = has[:, 1:], values[:, 1:]
    told = np.flatnonzero(_varied(has))
    return float(np.mean([score(has[:, place], values[:, place]) for place in told])) if len(told) else float("nan")


def _indicator(truth: np.ndarray, num_outputs: int) -> np.ndarray:
    return truth > LIKELY if truth.ndim > 1 else truth[:, None] == np.arange(num_outputs)


def _varied(has: np.ndarray) -> Any:
    return has.any(0) & ~has.all(0)


def _of_labels(name: str, **settings: Any) -> Metric:
    """Return a score of scikit-learn's of the labels that are given to rows."""

    def score(truth: np.ndarray, values: np.ndarray) -> float:
        from sklearn import metrics

        return float(getattr(metrics, name)(truth > LIKELY, values > LIKELY, **settings))

    return score


def _mean_absolute_error(truth: np.ndarray, values: np.ndarray) -> float:
    return float(np.abs(truth.reshape(values.shape) - values).mean())


METRICS: dict[str, dict[str, Callable[..., float]]] = {
    "classification": {
        "balanced_accuracy": _balanced_accuracy,
        "roc_auc": _roc_auc,
        "average_precision": _average_precision,
        "top_k": _top_k,
    },
    "multilabel": {
        "subset_accuracy": _of_labels("accuracy_score"),
        "hamming_loss": _of_labels("hamming_loss"),
        "micro_f1": _of_labels("f1_score", average="micro", zero_division=0.0),
        "roc_auc": _roc_auc,
        "average_precision": _average_precision,
    },
    "regression": {"mae": _mean_absolute_error},
}
"""Metrics beside those of the objective, by task and name."""

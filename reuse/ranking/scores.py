"""Scores of transferability by name: what each is computed from, and for which targets it is defined."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.ranking.h_score import score_h, score_shrunk_h
from reuse.ranking.leep import score_leep
from reuse.ranking.logme import score_logme
from reuse.ranking.nce import score_nce
from reuse.ranking.neighbours import score_nearest
from reuse.ranking.parc import score_parc
from reuse.ranking.sfda import score_sfda


@dataclass(frozen=True)
class Score:
    """A score of transferability; the greater the better.

    Attributes:
        title: as its paper writes it.
        compute: takes features or probabilities `(rows, columns)`, targets, the number of classes or 0, and weights of
            rows, if it can.
        of_source: whether it is computed from the probabilities of the source's own classes, and not from features.
        of_numbers: whether it is defined where targets are numbers.
        of_weights: whether it is defined where rows count more or less than others.
    """

    title: str
    compute: Callable[..., float]
    of_source: bool = False
    of_numbers: bool = False
    of_weights: bool = True


SCORES = {
    "logme": Score("LogME", score_logme, of_numbers=True),
    "leep": Score("LEEP", score_leep, of_source=True),
    "nce": Score("NCE", score_nce, of_source=True),
    "h_score": Score("H-score", score_h),
    "shrunk_h": Score("shrunk H", score_shrunk_h, of_weights=False),
    "parc": Score("PARC", score_parc, of_weights=False),
    "sfda": Score("SFDA", score_sfda),
    "nearest": Score("1-NN", score_nearest, of_numbers=True),
}


@dataclass(frozen=True)
class JudgingRows:
    """The labelled rows that candidates are judged by.

    Attributes:
        targets: class numbers `(rows,)`, each class having a row, or numbers in a standard scale `(rows, outputs)`.
        num_classes: 0 for numbers.
        places: which rows of the data they are, `(rows,)` int64; None: all.
        weights: how much each counts, above 0, in the mean 1, `(rows,)` float64; None: all alike.
    """

    targets: Tensor
    num_classes: int
    places: Tensor | None = None
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def of(self, values: Tensor) -> Tensor:
        """Return what belongs to these rows of values that all rows of the data have."""
        return values if self.places is None else values[self.places]

    def scored(self, score: Score, values: Tensor) -> float | None:
        """Return a score of features or probabilities of these rows; None where it is not defined, or not finite."""
        if self.weights is not None and not score.of_weights:
            return None
        weights = {} if self.weights is None else {"weights": self.weights}
        found = score.compute(values, self.targets, self.num_classes, **weights)
        return found if math.isfinite(found) else None


def choose_scores(names: str | Sequence[str] | None, *, numbers: bool) -> dict[str, Score]:
    """Return the scores that are asked for; all that are defined where none are named.

    Args:
        names: separated by commas, or a list; `none` for no score at all.
        numbers: whether targets are numbers.

    Raises:
        UsageError: a score is not defined for numbers; `UnknownNameError` names the nearest.
    """
    if names is None:
        return {name: score for name, score in SCORES.items() if score.of_numbers or not numbers}
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    chosen = {} if listed == ["none"] else {name: lookup(SCORES, name, "score") for name in listed}
    for name, score in chosen.items():
        if numbers and not score.of_numbers:
            others = ", ".join(known for known, one in SCORES.items() if one.of_numbers)
            raise UsageError(f"{name} is a score for classes, and the targets are numbers: take {others}")
    return chosen


def compute_scores(
    scores: dict[str, Score], features: Tensor, probabilities: Tensor | None, rows: JudgingRows
) -> dict[str, float | None]:
    """Return each score of a candidate; None where the source has no classes of its own, or rows have weights.

    Args:
        scores: by name.
        features: `(rows, features)` on the CPU.
        probabilities: of the source's own classes, `(rows, source classes)`; None: it has none.
        rows: the labels.
    """
    found = dict[str, float | None]()
    for name, score in scores.items():
        given = probabilities if score.of_source else features
        found[name] = None if given is None else rows.scored(score, given)
    return found

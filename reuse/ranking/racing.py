"""The race: probes of all candidates, fold by fold, from which those drop out that can no longer win.

A race as in Maron & Moore 1997 (https://doi.org/10.1023/A:1006556606079), blocked as in Moore & Lee 1994: all
candidates are validated on the same rows, and each is compared with the leader row by row. After each fold a candidate
is dropped where the interval of the mean of these differences lies wholly on the leader's side. The level of the
intervals is shared out over all comparisons (Bonferroni), so that the best one is dropped with a probability of at most
5 %, as far as rows whose probes share training rows count as independent.

A probe's penalty is the one of the greatest likelihood, in which the probability of each row counts: the best of
several accuracies is by chance too good.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student  # type: ignore[import-untyped]
from sklearn.model_selection import KFold, StratifiedKFold
from torch import Tensor

from reuse.errors import UsageError
from reuse.heads.logistic import solve_logistic
from reuse.heads.ridge import solve_ridge
from reuse.heads.shares import moments_of, shares_of
from reuse.ranking.scores import JudgingRows
from reuse.ranking.weighing import SeenRows

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # on standardised features; each candidate is compared at its best
TOLERANCE = 1e-5  # of the loss: accuracies do not change below
LEVEL = 0.05


@dataclass(frozen=True)
class RaceOutcome:
    """The outcome of a candidate in a race.

    Attributes:
        gains: of each row it was validated on, for its likeliest penalty: 1 or 0 for right or wrong, or for numbers 1
            less the squared error in units of the variance; NaN for the others. `(rows,)`
        folds: it was validated on.
        dropped: the fold after which it was dropped; None: it stayed to the end.
        weights: how much each row counts, `(rows,)`; None: all alike.
    """

    gains: Tensor
    folds: int
    dropped: int | None
    weights: Tensor | None = None

    @property
    def score(self) -> float:
        """The accuracy, or R²."""
        return SeenRows.of(self.gains, self.weights).mean

    @property
    def interval(self) -> float:
        """Half the width of the 95 % interval of the score."""
        return 1.96 * SeenRows.of(self.gains, self.weights).error

    def errors_behind(self, best: "RaceOutcome") -> float:
        """Return by how many standard errors of the difference it is worse than another."""
        return _errors_above(best.gains - self.gains, self.weights)

    def behind(self, best: "RaceOutcome") -> float:
        """Return by how much it is worse than another, on the rows that both were validated on."""
        return SeenRows.of(best.gains - self.gains, self.weights).mean


def divide_rows(rows: JudgingRows, folds: int, seed: int) -> list[Tensor]:
    """Return the numbers of the rows that each fold validates on.

    Args:
        rows: to be divided; each fold has its share of each class.
        folds: how many.
        seed: what they are drawn with.

    Raises:
        UsageError: more folds than rows, or than rows of a class.
    """
    targets, places = rows.targets.numpy(), np.arange(len(rows))
    smallest = int(rows.targets.bincount().min()) if rows.num_classes else len(rows)
    if folds > smallest:
        what = "rows of the smallest class" if rows.num_classes else "rows"
        raise UsageError(f"folds is {folds}, and there are {smallest} {what}: give fewer folds, or more rows")
    splitter = (StratifiedKFold if rows.num_classes else KFold)(folds, shuffle=True, random_state=seed % 2**32)
    return [torch.from_numpy(some) for _, some in splitter.split(places, targets if rows.num_classes else None)]


def race(
    candidates: Sequence[Tensor], rows: JudgingRows, parts: Sequence[Tensor], advance: Callable[[int], object]
) -> list[RaceOutcome]:
    """Return how each candidate comes out.

    Args:
        candidates: the features of each, `(rows, features)`.
        rows: their labels.
        parts: the rows that each fold validates on, as `divide_rows` gives them.
        advance: called with the number of probes that were solved, those of dropped candidates too.
    """
    features = [standardised(some, rows.weights) for some in candidates]
    gains = torch.full((len(features), len(PENALTIES), len(rows)), torch.nan, dtype=torch.float64)
    likelihoods = gains.clone()
    dropped: list[int | None] = [None] * len(features)
    for number, held_out in enumerate(parts, 1):
        racing = [place for place, after in enumerate(dropped) if after is None]
        for place in racing:
            gains[place][:, held_out], likelihoods[place][:, held_out] = probe(features[place], rows, held_out)
            advance(1)
        if number < len(parts):
            own = {place: _at_likeliest(gains[place], likelihoods[place], rows.weights) for place in racing}
            for place in _beaten(own, rows.weights, max(1, (len(features) - 1) * (len(parts) - 1))):
                dropped[place] = number
                advance(len(parts) - number)
    each = zip(gains, likelihoods, dropped, strict=True)
    return [
        RaceOutcome(_at_likeliest(own, likely, rows.weights), after or len(parts), after, rows.weights)
        for own, likely, after in each
    ]


def probe(features: Tensor, rows: JudgingRows, held_out: Tensor) -> tuple[Tensor, Tensor]:
    """Return gains and log likelihoods on the rows held out of linear probes, which learn from all other rows.

    Each is `(penalties, rows)`; of numbers, for errors of a normal distribution, the gains tell the likelihood too.

    Args:
        features: standardised, float64 `(rows, features)`.
        rows: the labels.
        held_out: numbers of rows.
    """
    learning = torch.ones(len(rows), dtype=torch.bool)
    learning[held_out] = False
    x, y = features[learning], rows.targets[learning]
    weights = None if rows.weights is None else rows.weights[learning]
    if rows.num_classes:
        heads = solve_logistic(x, y, PENALTIES, weights, num_classes=rows.num_classes, tolerance=TOLERANCE)
    else:
        heads = solve_ridge(x, y, PENALTIES, weights)
    told = features[held_out] @ heads.weight[0].mT + heads.bias[0].unsqueeze(1)  # (penalties, rows, outputs)
    wanted = rows.targets[held_out]
    if rows.num_classes:
        likelihoods = told.log_softmax(2)[:, torch.arange(len(wanted)), wanted]
        return (told.argmax(2) == wanted).double(), likelihoods
    shares = shares_of(len(rows), rows.weights)
    spread = (shares @ (rows.targets - shares @ rows.targets).square()).clamp_min(1e-12)
    gains = (1 - (told - wanted).square() / spread).mean(2)
    return gains, gains


def standardised(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return features as probes see them: float64, each of mean 0 and deviation 1; constant ones are 0.

    Args:
        features: `(rows, features)`.
        weights: how much each row counts in mean and deviation; None: all alike.
    """
    precise = features.double()
    mean, deviation = moments_of(precise, shares_of(len(features), weights))
    varying = deviation > 1e-12 * precise.abs().amax(0)
    return torch.where(varying, (precise - mean) / torch.where(varying, deviation, 1), 0)


def _at_likeliest(gains: Tensor, likelihoods: Tensor, weights: Tensor | None) -> Tensor:
    """Return the gains for the penalty under which what was seen so far is likeliest, `(rows,)`."""
    means = [SeenRows.of(one, weights).mean for one in likelihoods]
    return gains[means.index(max(means))]


def _beaten(gains: Mapping[int, Tensor], weights: Tensor | None, comparisons: int) -> list[int]:
    """Return the candidates that are worse than the leader beyond what chance explains.

    Args:
        gains: of each that is racing.
        weights: of the rows; None: all alike.
        comparisons: that are made in all.
    """
    seen = {place: SeenRows.of(own, weights) for place, own in gains.items()}
    leader = max(gains, key=lambda place: seen[place].mean)
    count = seen[leader].count
    allowed = float(student.ppf(1 - LEVEL / comparisons, count - 1)) if count > 1 else math.inf
    return [place for place, own in gains.items() if _errors_above(gains[leader] - own, weights) > allowed]


def _errors_above(differences: Tensor, weights: Tensor | None) -> float:
    """Return by how many of its standard errors a mean difference is above 0; 0 where too little was seen to say."""
    seen = SeenRows.of(differences, weights)
    if math.isnan(seen.deviation):
        return 0.0
    if seen.deviation == 0:
        return math.copysign(math.inf, seen.mean) if seen.mean else 0.0
    return seen.mean / seen.error

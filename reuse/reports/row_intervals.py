"""How sure a score is: intervals in which it would lie for other rows of the same kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 1000

Scorer = Callable[[np.ndarray], Mapping[str, float]]
"""From the places of some rows, repeats allowed, to scores by name."""


@dataclass(frozen=True)
class Interval:
    """A range that holds the true score with a confidence of 95 %."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


def bootstrap_intervals(score: Scorer, rows: int, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """Return percentile intervals of scores over rows that are drawn again (Efron & Tibshirani 1993, chapter 13).

    The same rows are drawn at each call with as many. A score that compares two models on the rows that it is given is
    paired.

    Args:
        score: of drawn rows.
        rows: how many there are.
        resamples: how often they are drawn.
    """
    generator = np.random.default_rng(0)
    drawn = [score(generator.integers(rows, size=rows)) for _ in range(resamples)]
    ends = (100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2)
    return {name: Interval(*np.nanpercentile([scores[name] for scores in drawn], ends).tolist()) for name in drawn[0]}


def mcnemar_probability(first_right: np.ndarray, second_right: np.ndarray) -> float:
    """Return how likely two models as good as each other disagree at least as unevenly (McNemar 1947, exact).

    Of the rows that only one of them gets right, each would have half. https://doi.org/10.1007/BF02295996

    Args:
        first_right: for each row, whether the first model is right.
        second_right: the same of the second, of the same rows.
    """
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)

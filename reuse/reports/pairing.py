"""Two runs on the same rows: how their scores differ, and how sure that is."""

from dataclasses import dataclass

import numpy as np

from reuse.reports.outcome import Outcome
from reuse.reports.row_intervals import Interval, bootstrap_intervals
from reuse.reports.scores import resamples_of, scorer_of


@dataclass(frozen=True)
class Difference:
    """A score of two runs on their common rows.

    Attributes:
        name: of the score.
        first: of the first run.
        second: of the second.
        interval: of the second less the first.
    """

    name: str
    first: float
    second: float
    interval: Interval

    @property
    def gap(self) -> float:
        """The second less the first."""
        return self.second - self.first


def refuse_to_compare(first: Outcome, second: Outcome) -> str:
    """Return why two runs cannot be compared row by row; empty where they can."""
    for what in ("task", "data", "classes", "split"):
        one, two = getattr(first, what), getattr(second, what)
        if one != two:
            said = (", ".join(one), ", ".join(two)) if isinstance(one, tuple) else (one, two)
            return f"they differ in {what}: {said[0]}, and {said[1]}"
    left, right = common_places(first, second)
    if not len(left):
        return f"no row is in the {first.split} split of both"
    if not np.array_equal(first.targets[left], second.targets[right]):
        return "their data give the same rows other targets"
    return ""


def common_places(first: Outcome, second: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Return where the rows that both have are in each, in one order."""
    _, left, right = np.intersect1d(first.numbers, second.numbers, return_indices=True)
    return left, right


def paired_differences(first: Outcome, second: Outcome) -> list[Difference]:
    """Return how the scores of two runs differ on their common rows.

    Both are scored on the same drawn rows (a paired bootstrap), so that what is hard for both falls out.
    """
    left, right = common_places(first, second)
    one, two = scorer_of(first), scorer_of(second)

    def difference(places: np.ndarray) -> dict[str, float]:
        before, after = one(left[places]), two(right[places])
        return {name: after[name] - before[name] for name in before}

    intervals, before, after = bootstrap_intervals(difference, len(left), resamples_of(first)), one(left), two(right)
    return [Difference(name, before[name], after[name], interval) for name, interval in intervals.items()]

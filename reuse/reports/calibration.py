"""Calibration: whether what is said with a certainty is right as often as that."""

from dataclasses import dataclass

import numpy as np

from reuse.reports.axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, chart
from reuse.reports.bars import bars_of
from reuse.reports.markup import Html, figure, figures, folded, joined, note, table, tag
from reuse.reports.outcome import Outcome
from reuse.reports.subject import Section, Subject, empty_section

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Certainty and truth, in equal bins of certainty from 0 to 1.

    Attributes:
        counts: rows in each bin.
        certainty: its mean in each bin; 0 in an empty one.
        right: the share of right ones in each bin; 0 in an empty one.
    """

    counts: np.ndarray
    certainty: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, certainty: np.ndarray, right: np.ndarray) -> "Calibration":
        """Return the calibration of statements.

        Args:
            certainty: with which each is made, from 0 to 1.
            right: whether it is.
        """
        bins = np.clip(np.ceil(certainty * BINS).astype(int) - 1, 0, BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        mean = np.maximum(counts, 1)
        sums = [np.bincount(bins, weights=some, minlength=BINS) / mean for some in (certainty, right)]
        return cls(counts, *sums)

    @property
    def error(self) -> float:
        """The expected calibration error: the mean gap of certainty and truth over rows.

        Guo et al. 2017, https://arxiv.org/abs/1706.04599: Σ |B| / n · |acc(B) − conf(B)|.
        """
        return float((self.counts * np.abs(self.right - self.certainty)).sum() / max(self.counts.sum(), 1))


def calibration_section(subject: Subject) -> Section:
    """Return the calibration of the run's probabilities."""
    outcome = subject.outcome
    if outcome is None:
        return empty_section("Calibration", subject.no_outcome)
    if outcome.task == "regression":
        return empty_section("Calibration", "the task is regression, and numbers come without a certainty")
    found = calibration_of(outcome)
    said = note(
        tag("strong", f"ECE {found.error:.4f}"),
        f": how far certainty and truth are apart on average, over {BINS} equal bins. {_meaning(outcome)} ",
        "Bars below the line are too sure of themselves, those above it not sure enough.",
    )
    rows = [
        [f"{place / BINS:g} to {(place + 1) / BINS:g}", f"{count:,}", f"{sure:.3f}", f"{right:.3f}"]
        for place, (count, sure, right) in enumerate(zip(found.counts, found.certainty, found.right, strict=True))
        if count
    ]
    numbers = folded(
        "The numbers", table(["certainty", "rows", "mean certainty", "share right"], rows, caption="Calibration")
    )
    return Section("Calibration", joined([said, figures(_diagram(found), _certainties(found)), numbers]))


def _meaning(outcome: Outcome) -> str:
    if outcome.task == "multilabel":
        return "Each label of each row counts with its probability."
    return "Each row counts with the probability of its likeliest class."


def calibration_of(outcome: Outcome) -> Calibration:
    """Return the calibration of an outcome; of labels, of each label of each row."""
    if outcome.task == "multilabel":
        return Calibration.of(outcome.values.ravel(), (outcome.targets > 0).ravel().astype(float))
    return Calibration.of(outcome.values.max(1), outcome.right.astype(float))


def _diagram(found: Calibration) -> Html:
    x, y = Scale(0, 1, LEFT, WIDTH - RIGHT), Scale(0, 1, HEIGHT - BOTTOM, TOP)
    bars = bars_of(found.right.tolist(), _edges(), x, y, "bar soft")
    line = tag("line", x1=x.at(0), x2=x.at(1), y1=y.at(0), y2=y.at(1), class_="ideal")
    drawn = chart(x, y, *bars, line, name=f"Calibration, expected error {found.error:.4f}", below="certainty")
    return figure(tag("strong", "share right"), drawn)


def _certainties(found: Calibration) -> Html:
    x, y = Scale(0, 1, LEFT, WIDTH - RIGHT), Scale.up([0.0, float(max(found.counts.max(), 1))])
    bars = bars_of(found.counts.tolist(), _edges(), x, y, "bar quiet")
    drawn = chart(x, y, *bars, name="How certain predictions are", below="certainty")
    return figure(tag("strong", "rows"), drawn)


def _edges() -> list[float]:
    return [place / BINS for place in range(BINS + 1)]

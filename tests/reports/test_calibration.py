"""Calibration against a plain formula."""

from pathlib import Path

import numpy as np
import pytest

from reports.conftest import outcome_of, subject_of
from reuse.reports.calibration import BINS, Calibration, calibration_of, calibration_section


def expected_error(certainty: np.ndarray, right: np.ndarray) -> float:
    """Return Σ |B| / n · |acc(B) − conf(B)| over bins (low, high], one after the other (Guo et al. 2017)."""
    total = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = [(c, r) for c, r in zip(certainty, right, strict=True) if low < c <= high or (c == 0 == number)]
        if inside:
            gap = sum(r for _, r in inside) / len(inside) - sum(c for c, _ in inside) / len(inside)
            total += len(inside) / len(certainty) * abs(gap)
    return total


def test_the_error_of_a_run(runs: Path) -> None:
    outcome = outcome_of(runs / "frozen")
    error = expected_error(outcome.values.max(1), (outcome.values.argmax(1) == outcome.targets).astype(float))
    assert calibration_of(outcome).error == pytest.approx(error, abs=1e-12)
    assert f"ECE {error:.4f}" in calibration_section(subject_of(runs / "frozen")).body


def test_the_error_of_labels(labels: Path) -> None:
    outcome = outcome_of(labels)
    error = expected_error(outcome.values.ravel(), outcome.targets.ravel())
    assert calibration_of(outcome).error == pytest.approx(error, abs=1e-12)


def test_what_is_right_as_often_as_it_is_certain_has_no_error() -> None:
    certainty = np.repeat([0.05, 0.25, 0.95], 100)
    right = np.concatenate([np.arange(100) < 100 * share for share in (0.05, 0.25, 0.95)]).astype(float)
    assert Calibration.of(certainty, right).error == pytest.approx(0, abs=1e-12)
    assert Calibration.of(np.array([0.0, 1.0]), np.array([1.0, 0.0])).error == 1


def test_numbers_have_none(numbers: Path) -> None:
    section = calibration_section(subject_of(numbers))
    assert "the task is regression" in section.lacks

"""Means, errors and intervals, against SciPy's own."""

import math

import pytest
from reuse.recipes.experiments import half_interval, mean_and_error, paired_interval
from scipy import stats

BEFORE, AFTER = [80.1, 81.5, 79.9, 82.2, 80.8], [81.0, 81.9, 81.2, 82.0, 82.1]


def test_standard_error_is_scipys() -> None:
    mean, error = mean_and_error(BEFORE)
    assert mean == pytest.approx(80.9)
    assert error == pytest.approx(stats.sem(BEFORE))


def test_one_value_has_no_error() -> None:
    mean, error = mean_and_error([3.0])
    assert mean == 3.0
    assert math.isnan(error)


def test_interval_is_that_of_the_paired_t_test() -> None:
    mean, low, high = paired_interval(BEFORE, AFTER)
    expected = stats.ttest_rel(AFTER, BEFORE).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert mean == pytest.approx((low + high) / 2)


def test_half_interval_is_scipys() -> None:
    low, high = stats.t.interval(0.95, len(BEFORE) - 1, loc=80.9, scale=stats.sem(BEFORE))
    assert half_interval(BEFORE) == pytest.approx((high - low) / 2)
    assert math.isnan(half_interval([3.0]))

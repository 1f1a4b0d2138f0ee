"""Intervals and tests against other libraries and formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from reuse.intervals import wilson_interval
from reuse.reports.row_intervals import bootstrap_intervals, mcnemar_probability


@given(rows=st.integers(1, 500), share=st.floats(0, 1))
def test_wilsons_interval_is_that_of_scipy(rows: int, share: float) -> None:
    right = round(share * rows)
    expected = binomtest(right, rows).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right, rows) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(1).exponential(size=400)
    interval = bootstrap_intervals(lambda places: {"mean": values[places].mean()}, len(values))["mean"]
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - half, abs=half / 5)
    assert interval.high == pytest.approx(values.mean() + half, abs=half / 5)


def test_the_bootstrap_draws_the_same_rows_each_time() -> None:
    values = np.arange(30.0)
    first, second = (bootstrap_intervals(lambda places: {"x": values[places].mean()}, 30) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 8), (5, 5), (12, 3)])
def test_mcnemars_probability_is_a_sum_of_binomials(only_first: int, only_second: int) -> None:
    one = np.array([True] * only_first + [False] * only_second + [True, False] * 10)
    two = np.array([False] * only_first + [True] * only_second + [True, False] * 10)
    total, least = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(total, k) for k in range(least + 1)) / 2**total
    assert mcnemar_probability(one, two) == pytest.approx(min(1.0, 2 * tail))

"""Axes: round numbers, and places that keep the order."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reuse.reports.axes import Scale, short

finite = st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-9)


@given(values=st.lists(finite, min_size=1, max_size=20))
def test_a_scale_holds_its_numbers_in_order_between_its_ends(values: list[float]) -> None:
    scale = Scale.over(values, 200.0, 10.0)
    assert scale.low <= min(values) + 1e-6 * abs(min(values))
    assert scale.high >= max(values) - 1e-6 * abs(max(values))
    places = [scale.at(value) for value in sorted(values)]
    assert places == sorted(places, reverse=True)
    assert all(10.0 - 1e-3 <= place <= 200.0 + 1e-3 for place in places)
    assert 2 <= len(scale.ticks) <= 12


@given(values=st.lists(st.floats(1e-8, 1e8), min_size=1, max_size=20))
def test_a_logarithmic_scale_gives_equal_factors_equal_lengths(values: list[float]) -> None:
    scale = Scale.over(values, 0.0, 100.0, logarithmic=True)
    assert all(-1e-6 <= scale.at(value) <= 100 + 1e-6 for value in values)
    assert all(math.log10(tick) == pytest.approx(round(math.log10(tick)), abs=1e-9) for tick in scale.ticks)
    lengths = [scale.at(10 * value) - scale.at(value) for value in values]
    assert lengths == pytest.approx([lengths[0]] * len(lengths))


def test_ticks_are_round() -> None:
    assert Scale.over([0.13, 0.97], 0, 1).ticks == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert Scale.over([3.0], 0, 1).ticks[0] < 3 < Scale.over([3.0], 0, 1).ticks[-1]


@pytest.mark.parametrize(("value", "written"), [(0.1 + 0.2, "0.3"), (1e-5, "1e-5"), (25000, "25k"), (2.5e6, "2.5M")])
def test_numbers_are_short(value: float, written: str) -> None:
    assert short(value) == written

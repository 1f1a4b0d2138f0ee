"""Weights of rows: their ratios count, and numbers are scaled as rows count."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from reuse.data.dataset import Dataset
from reuse.data.loading import load
from reuse.data.row_weights import relative_weights
from reuse.data.targets import TargetScale
from reuse.errors import DataError

UNITS = [1.0, 1e-300, 1e300, 3.0]


def weighted_table(unit: float) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    weights = draw.integers(0, 4, 60) * unit
    return pd.DataFrame({"x": draw.normal(size=60), "w": weights, "y": 1e6 + 1e3 * draw.normal(size=60)})


def loaded(unit: float) -> Dataset:
    return load(weighted_table(unit), target="y", sample_weight="w")


def test_numbers_are_scaled_as_if_rows_were_repeated() -> None:
    data, table = loaded(1.0), weighted_table(1.0)
    rows = data.train.rows
    repeated = np.repeat(table["y"].to_numpy()[rows], table["w"].to_numpy()[rows].astype(int))
    expected = StandardScaler().fit(repeated[:, None])
    assert data.target_scale is not None
    np.testing.assert_allclose(data.target_scale.mean, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(data.target_scale.std, expected.scale_, rtol=1e-12)
    assert data.target_scale.note in data.notes


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_of_weights_changes_nothing(unit: float) -> None:
    plain, scaled = loaded(1.0), loaded(unit)
    assert plain.train.weights is not None
    assert scaled.train.weights is not None
    torch.testing.assert_close(scaled.train.weights, plain.train.weights, rtol=1e-12, atol=0)
    assert plain.target_scale is not None
    assert scaled.target_scale is not None
    np.testing.assert_allclose(scaled.target_scale.mean, plain.target_scale.mean, rtol=1e-12)
    np.testing.assert_allclose(scaled.target_scale.std, plain.target_scale.std, rtol=1e-9)
    assert max(scaled.train.weights) == 1


def test_weights_that_no_unit_holds_together_are_refused_and_others_overflow_nowhere() -> None:
    train = np.array([0, 1])
    assert relative_weights(np.array([1e-300, 5e-301, 1e-5]), train).tolist() == [1, 0.5, pytest.approx(1e295)]
    with pytest.raises(DataError, match="at most 1e-300, and others reach 1e\\+300: give weights in one unit"):
        relative_weights(np.array([1e-300, 1e-300, 1e300]), train)


def test_a_constant_is_one_in_any_unit_of_weights() -> None:
    values: Any = np.full((5, 1), 0.1)
    assert TargetScale.fit(values, np.array([1.0, 0.5, 0.2, 0, 0])).std == (1.0,)

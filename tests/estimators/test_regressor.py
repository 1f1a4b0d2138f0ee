"""TransferRegressor: numbers in their own units, one or several, rows weighted."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import reuse

QUICK = {"epochs": 30, "learning_rate": 0.01, "random_state": 0}


@pytest.fixture
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(x), y


def test_it_predicts_in_the_units_of_the_targets(diabetes):
    x, y = diabetes
    scores = cross_val_score(reuse.TransferRegressor("mlp:16", **QUICK), x, y, cv=3, error_score="raise")
    assert scores.mean() > 0.35  # linear regression has 0.48
    moved = reuse.TransferRegressor("mlp:16", **QUICK).fit(x, 1e6 + y).predict(x)
    np.testing.assert_allclose(moved - 1e6, reuse.TransferRegressor("mlp:16", **QUICK).fit(x, y).predict(x), atol=0.5)


def test_several_numbers_a_row_from_a_frozen_module(diabetes, computed):
    x, y = diabetes
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 7))
    model = make_pipeline(StandardScaler(), reuse.TransferRegressor(module, freeze="0", **QUICK))
    both = model.fit(x, np.stack([y, -2 * y], 1)).predict(x)
    assert both.shape == (len(x), 2)
    assert model.score(x, np.stack([y, -2 * y], 1)) > 0.3
    assert sum(computed) == len(x)


def test_the_scale_of_numbers_follows_the_weights_of_rows(diabetes):
    x, y = diabetes
    counts = (np.arange(len(x)) % 3).astype(float)
    repeated = np.repeat(np.arange(len(x)), counts.astype(int))
    whole = {"valid_fraction": 0.0, "batch_size": 2048, "precision": "float64", "epochs": 20, "random_state": 0}
    weighted = reuse.TransferRegressor("mlp:8", **whole).fit(x, y, sample_weight=counts)
    plain = reuse.TransferRegressor("mlp:8", **whole).fit(x[repeated], y[repeated])
    np.testing.assert_allclose(weighted.predict(x), plain.predict(x), rtol=1e-8)


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 4.0, 1e300])
def test_the_unit_of_weights_changes_nothing(diabetes, unit):
    x, y = diabetes
    counts = (np.arange(len(x)) % 3).astype(float)
    how = {"valid_fraction": 0.0, "batch_size": 64, "epochs": 2, "random_state": 0}
    plain = reuse.TransferRegressor("mlp:8", **how).fit(x, y, sample_weight=counts)
    scaled = reuse.TransferRegressor("mlp:8", **how).fit(x, y, sample_weight=counts * unit)
    np.testing.assert_allclose(scaled.predict(x), plain.predict(x), rtol=1e-6)

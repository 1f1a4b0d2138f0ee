"""What the tests of estimators share: rows, a network, and a count of the rows that are computed."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from reuse.caching.store import PrefixCache

ROWS = 240


@pytest.fixture
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:ROWS] / 16, y[:ROWS]


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = OrderedDict(
        body=nn.Linear(64, 32), act=nn.ReLU(), norm=nn.BatchNorm1d(32), drop=nn.Dropout(0.4), head=nn.Linear(32, 5)
    )
    return nn.Sequential(layers)


@pytest.fixture
def computed(monkeypatch):
    """How many rows each filling of a cache computed, in this process."""
    counts = []
    fill = PrefixCache.fill

    def counted(self, *args, **kwargs):
        filled = fill(self, *args, **kwargs)
        counts.append(filled.computed)
        return filled

    monkeypatch.setattr(PrefixCache, "fill", counted)
    return counts


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)

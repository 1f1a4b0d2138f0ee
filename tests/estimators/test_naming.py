"""Columns of data frames go by name to a source that learned from a table."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from reuse import FrozenFeatures, PretrainedEncoder, TransferClassifier, TransferRegressor, pretrain
from reuse.errors import DataError

DRAW = np.random.default_rng(0)
X = pd.DataFrame({"a": DRAW.normal(size=60), "b": 100 * DRAW.normal(size=60), "c": DRAW.normal(size=60) + 50})
Y = np.where(X["a"] > 0, "up", "down")
SHUFFLED = X[["c", "a", "b"]]


@pytest.fixture
def source() -> str:
    return str(pretrain("autoencoder", data=X, model="mlp:6,4", epochs=1).run)


@pytest.mark.parametrize("frame", [SHUFFLED, pl.from_pandas(SHUFFLED), X.to_numpy()])
def test_features_of_columns_in_another_order_are_the_same(source: str, frame: Any) -> None:
    features = FrozenFeatures(source, layers="hidden1")
    expected = clone(features).fit_transform(X)
    assert np.array_equal(clone(features).fit_transform(frame), expected)
    assert np.array_equal(clone(features).fit(frame).transform(frame), expected)


@pytest.mark.parametrize(("kind", "method"), [(TransferClassifier, "predict_proba"), (TransferRegressor, "predict")])
def test_predictions_of_columns_in_another_order_are_the_same(source: str, kind: Any, method: str) -> None:
    y = Y if kind is TransferClassifier else X["a"]
    one, other = (kind(source, epochs=2, random_state=0).fit(x, y) for x in (X, SHUFFLED))
    assert np.array_equal(getattr(one, method)(X), getattr(other, method)(SHUFFLED))


def test_columns_that_the_source_lacks_or_has_besides_are_named(source: str) -> None:
    with pytest.raises(DataError, match="has 'z', which the source did not learn from: drop it"):
        FrozenFeatures(source).fit(X.assign(z=1.0))
    with pytest.raises(DataError, match="lacks 'a', which the source learned from: add it"):
        TransferClassifier(source).fit(X.rename(columns={"a": "q"}), Y)


def test_columns_of_other_names_and_of_an_encoder_are_taken_as_they_come(source: str) -> None:
    renamed = X.set_axis(["p0", "p1", "p2"], axis=1)
    assert np.array_equal(FrozenFeatures(source).fit_transform(renamed), FrozenFeatures(source).fit_transform(X))
    assert PretrainedEncoder(model="mlp:4", epochs=1).fit(SHUFFLED).transform(SHUFFLED).shape == (60, 4)

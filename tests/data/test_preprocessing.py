"""Preprocessing as plain values."""

import json
import tomllib

import numpy as np
import pytest
import tomli_w
import torch

from reuse.data.loading import load
from reuse.data.preprocessing import Column, Preprocessing, image_preprocessing
from reuse.errors import DataError, UsageError

EXAMPLES = [
    image_preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic", 0.95, 224),
    Preprocessing("vectors", mean=(0.1, 1 / 3), std=(1.0, 2.5e-17)),
    Preprocessing(
        "table",
        mean=(0.5, 0, 0),
        std=(2.0, 1, 1),
        columns=(Column("a", 0.25), Column("b", categories=("x", "(missing)"))),
    ),
]


@pytest.mark.parametrize("preprocessing", EXAMPLES)
def test_survives_toml_and_json(preprocessing):
    values = preprocessing.to_dict()
    assert Preprocessing.from_dict(tomllib.loads(tomli_w.dumps(values))) == preprocessing
    assert Preprocessing.from_dict(json.loads(json.dumps(values))) == preprocessing


def test_fitted_preprocessing_survives_too():
    for spec in ("digits", "wine", "diabetes"):
        fitted = load(spec).preprocessing
        assert Preprocessing.from_dict(tomllib.loads(tomli_w.dumps(fitted.to_dict()))) == fitted


def test_unknown_entries_are_refused():
    with pytest.raises(DataError, match="colour"):
        Preprocessing.from_dict({"kind": "images", "colour": 1})
    with pytest.raises(DataError, match="'video'"):
        Preprocessing("video")
    with pytest.raises(UsageError, match="1 means"):
        image_preprocessing((0.5,), (0.5,), "bilinear", None, 8, 3)


def test_large_columns_keep_their_precision():
    x = 1.7e9 + np.arange(8.0)[:, None]
    data = load((x, np.arange(8) % 2), valid_fraction=0, test_fraction=0)
    expected = (x - x.mean()) / x.std()
    np.testing.assert_allclose(data.train.inputs.resident(), expected, rtol=1e-6)


def test_a_given_preprocessing_is_not_fitted_again():
    fitted = load("wine").preprocessing
    few = load("wine", labels=30, seed=3, preprocessing=fitted)
    whole = load("wine", preprocessing=fitted, valid_fraction=0, test_fraction=0)
    assert torch.equal(few.train.inputs.resident(), whole.train.inputs.resident()[few.train.rows])
    with pytest.raises(DataError, match="30 features a row, and the preprocessing expects 13"):
        load("breast-cancer", preprocessing=fitted)

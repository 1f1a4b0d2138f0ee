"""A sweep listed as scikit-learn lists a search: the same columns with the same numbers."""

import math
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from reuse.searching.table import cv_results

TRIED = {"alpha": [0.1, 1.0, 1.00001, 100.0], "fit_intercept": [True, False]}


def as_heads(found: dict[str, Any], metric: str, sign: int) -> list[dict[str, Any]]:
    """Return what scikit-learn found as a sweep would have it: a head for each combination and split."""
    return [
        {
            "number": row,
            "seed": 0,
            "fold": fold,
            **params,
            "valid": {metric: sign * found[f"split{fold - 1}_test_score"][row]},
        }
        for row, params in enumerate(found["params"])
        for fold in (1, 2, 3)
    ]


@pytest.mark.parametrize(("metric", "scoring", "sign"), [("r2", "r2", 1), ("mse", "neg_mean_squared_error", -1)])
def test_columns_are_those_of_grid_search(metric: str, scoring: str, sign: int) -> None:
    search = GridSearchCV(Ridge(), TRIED, cv=3, scoring=scoring).fit(*load_diabetes(return_X_y=True))
    theirs = {name: column for name, column in search.cv_results_.items() if not name.endswith("_time")}
    ours = cv_results(as_heads(theirs, metric, sign), metric)
    assert ours.keys() == theirs.keys()
    assert ours["params"] == theirs["params"]
    for name in theirs.keys() - {"params"}:
        if name.startswith("param_"):
            assert list(ours[name]) == list(theirs[name])
        else:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12)


def test_a_head_whose_loss_was_never_finite_ranks_last() -> None:
    heads = [
        {"number": number, "seed": 0, "fold": None, "learning_rate": rate, "best_epoch": epoch, "valid": {"loss": loss}}
        for number, (rate, epoch, loss) in enumerate([(1e9, 0, math.nan), (0.1, 3, 0.7), (0.01, 5, 0.9)])
    ]
    found = cv_results(heads, "loss")
    assert list(found["rank_test_score"]) == [3, 1, 2]
    assert math.isnan(found["mean_test_score"][0])

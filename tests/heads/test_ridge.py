"""Ridge regression equals scikit-learn's, for every penalty, set of rows and shape of features."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from reuse.errors import DataError, UsageError
from reuse.heads.ridge import solve_ridge

PENALTIES = (1e-6, 1e-2, 3.0)


def some_rows(rows: int, features: int, outputs: int = 3) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(rows, features)) * np.logspace(0, -2, features) + 3
    return x, x @ draw.normal(size=(features, outputs)) + draw.normal(size=(rows, outputs))


@pytest.mark.parametrize(("rows", "features"), [(60, 8), (20, 50), (30, 30)])
def test_equals_scikit_learn(rows: int, features: int) -> None:
    x, y = some_rows(rows, features)
    heads = solve_ridge(torch.from_numpy(x), torch.from_numpy(y), PENALTIES)
    assert heads.weight.shape == (1, len(PENALTIES), 3, features)
    for number, penalty in enumerate(PENALTIES):
        theirs = Ridge(alpha=penalty * rows, solver="svd").fit(x, y)
        assert heads.weight[0, number].numpy() == pytest.approx(theirs.coef_, abs=1e-8)
        assert heads.bias[0, number].numpy() == pytest.approx(theirs.intercept_, abs=1e-8)


def test_sets_of_rows_and_weights() -> None:
    x, y = some_rows(60, 8)
    draw = np.random.default_rng(1)
    fold, weights = draw.random(60) < 0.7, draw.random(60)
    sets = torch.from_numpy(np.stack([fold, weights]))
    heads = solve_ridge(torch.from_numpy(x), torch.from_numpy(y), PENALTIES, sets)
    for number, penalty in enumerate(PENALTIES):
        alone = Ridge(alpha=penalty * fold.sum()).fit(x[fold], y[fold])
        weighted = Ridge(alpha=penalty * weights.sum()).fit(x, y, sample_weight=weights)
        for own, theirs in zip(heads.weight[:, number], (alone, weighted), strict=True):
            assert own.numpy() == pytest.approx(theirs.coef_, abs=1e-8)


def test_features_that_repeat_each_other_have_the_solution_of_least_norm() -> None:
    x, y = some_rows(40, 6)
    x = np.concatenate([x, x, np.full((40, 1), 7.0)], 1)
    found = solve_ridge(torch.from_numpy(x), torch.from_numpy(y), [0.0]).weight[0, 0].numpy()
    centred = x - x.mean(0)
    assert found == pytest.approx(np.linalg.pinv(centred, rcond=1e-10).dot(y - y.mean(0)).T, abs=1e-8)


def test_float32_features_give_float32_heads_as_near_as_that_goes() -> None:
    x, y = some_rows(60, 8)
    found = solve_ridge(torch.from_numpy(x).float(), torch.from_numpy(y[:, 0]), [0.1])
    assert found.weight.dtype == torch.float32
    theirs = Ridge(alpha=6.0).fit(x, y[:, 0])
    assert found.weight[0, 0, 0].numpy() == pytest.approx(theirs.coef_, abs=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "penalties", "weights", "words"),
    [
        (torch.ones(3), torch.ones(3), [1.0], None, r"needs \(rows, features\)"),
        (torch.ones(3, 2), torch.ones(4), [1.0], None, "as many targets"),
        (torch.tensor([[1.0], [torch.nan]]), torch.ones(2), [1.0], None, "features of row 1"),
        (torch.ones(2, 1), torch.tensor([1.0, torch.inf]), [1.0], None, "targets hold"),
        (torch.ones(2, 1), torch.ones(2), [1.0], torch.zeros(2), "sums to nothing"),
        (torch.ones(2, 1), torch.ones(2), [1.0], torch.tensor([1.0, -1.0]), "numbers from 0"),
    ],
)
def test_refuses_data(x: torch.Tensor, y: torch.Tensor, penalties: list[float], weights: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        solve_ridge(x, y, penalties, weights)  # type: ignore[arg-type]


def test_refuses_penalties() -> None:
    with pytest.raises(UsageError, match="-1 is among"):
        solve_ridge(torch.ones(2, 1), torch.ones(2), [1.0, -1.0])
    with pytest.raises(UsageError, match="no penalties"):
        solve_ridge(torch.ones(2, 1), torch.ones(2), [])

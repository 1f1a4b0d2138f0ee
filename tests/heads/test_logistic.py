"""Logistic regression reaches scikit-learn's optimum for every penalty, set of rows and shape of features."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from reuse.errors import DataError, UsageError
from reuse.heads import logistic
from reuse.heads.linear import LinearHeads
from reuse.heads.logistic import solve_logistic

PENALTIES = (1e-4, 1e-2, 1.0)


def some_rows(rows: int, features: int, classes: int, apart: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    y = np.concatenate([np.arange(classes), draw.integers(classes, size=rows - classes)])
    x = draw.normal(size=(rows, features)) + apart * draw.normal(size=(classes, features))[y]
    return x * np.logspace(0, -1.5, features) + 2, y


def loss_of(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, y: np.ndarray, penalty: float) -> float:
    logits = torch.from_numpy(x @ weight.T + bias)
    return float(functional.cross_entropy(logits, torch.from_numpy(y))) + penalty / 2 * float((weight**2).sum())


def solved(x: np.ndarray, y: np.ndarray, **settings: object) -> LinearHeads:
    return solve_logistic(torch.from_numpy(x), torch.from_numpy(y), PENALTIES, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rows", "features"), [(200, 12), (30, 60)])
def test_equals_scikit_learn(rows: int, features: int) -> None:
    x, y = some_rows(rows, features, 4)
    heads = solved(x, y, tolerance=1e-12)
    assert bool(heads.converged.all())
    for number, penalty in enumerate(PENALTIES):
        theirs = LogisticRegression(C=1 / (penalty * rows), tol=1e-9, max_iter=100_000).fit(x, y)
        weight, bias = heads.weight[0, number].numpy(), heads.bias[0, number].numpy()
        expected = loss_of(theirs.coef_, theirs.intercept_, x, y, penalty)
        assert loss_of(weight, bias, x, y, penalty) == pytest.approx(expected, rel=1e-8)
        assert (theirs.predict(x) == (x @ weight.T + bias).argmax(1)).all()
        assert weight == pytest.approx(theirs.coef_, abs=1e-4 * abs(theirs.coef_).max())


def test_two_classes_have_two_rows_of_weights() -> None:
    x, y = some_rows(100, 5, 2, apart=0.3)
    heads = solved(x, y, tolerance=1e-12)
    for number, penalty in enumerate(PENALTIES):
        theirs = LogisticRegression(C=2 / (penalty * 100), tol=1e-9, max_iter=10_000).fit(x, y)
        weight, bias = heads.weight[0, number].numpy(), heads.bias[0, number].numpy()
        assert weight[1] - weight[0] == pytest.approx(theirs.coef_[0], abs=1e-4)
        assert bias[1] - bias[0] == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_gradient_is_zero_by_autograd_with_folds_and_class_weights() -> None:
    x, y = some_rows(150, 10, 3)
    own = torch.stack([torch.arange(150) % 3 != fold for fold in range(3)])
    classes = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)
    rows, labels = torch.from_numpy(x), torch.from_numpy(y)
    heads = solve_logistic(rows, labels, PENALTIES, own * classes[labels], tolerance=1e-14)
    assert heads.iterations.shape == (3, len(PENALTIES))
    for fold, number in np.ndindex(3, len(PENALTIES)):
        weight, bias = (part[fold, number].clone().requires_grad_() for part in (heads.weight, heads.bias))
        logits = rows[own[fold]] @ weight.mT + bias
        loss = functional.cross_entropy(logits, labels[own[fold]], classes)
        (loss + PENALTIES[number] / 2 * weight.square().sum()).backward()
        assert max(part.grad.abs().max().item() for part in (weight, bias) if part.grad is not None) < 1e-6


def test_float32_comes_as_near_as_was_asked_where_classes_are_far_apart() -> None:
    x, y = some_rows(300, 20, 4, apart=3.0)
    heads = solve_logistic(torch.from_numpy(x).float(), torch.from_numpy(y), PENALTIES, tolerance=1e-6)
    exact = solved(x, y, tolerance=1e-13)
    for number, penalty in enumerate(PENALTIES):
        near, best = (
            loss_of(some.weight[0, number].double().numpy(), some.bias[0, number].double().numpy(), x, y, penalty)
            for some in (heads, exact)
        )
        assert near / best - 1 < 2e-5


def test_problems_solved_in_turns_are_solved_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = some_rows(80, 6, 3)
    together = solved(x, y)
    monkeypatch.setattr(logistic, "LOGITS_AT_ONCE", 2 * 3 * 80)
    apart = solved(x, y)
    assert torch.allclose(together.weight, apart.weight, atol=1e-6)


def test_a_class_without_rows_and_features_that_repeat() -> None:
    x, y = some_rows(60, 4, 3)
    x = np.concatenate([x, x, np.ones((60, 2))], 1)
    heads = solved(x, y, num_classes=5)
    assert heads.weight.shape == (1, 3, 5, 10)
    assert bool(heads.converged.all())
    assert bool(heads.weight.isfinite().all())
    assert (x @ heads.weight[0, 0].numpy().T + heads.bias[0, 0].numpy()).argmax(1).max() < 3
    assert torch.allclose(heads.weight[..., :4], heads.weight[..., 4:8], atol=1e-10)  # the least norm


def test_says_what_has_not_converged() -> None:
    x, y = some_rows(60, 8, 3, apart=5.0)
    with pytest.warns(
        UserWarning, match=r"after up to 5 iterations heads with the penalty 0\.0001.* have not converged"
    ):
        heads = solved(x, y, max_iterations=5)
    assert heads.iterations.max() == 5
    assert not bool(heads.converged[0, 0])


@pytest.mark.parametrize("targets", [torch.tensor([0, -1]), torch.tensor([0, 0]), torch.tensor([0.0, 1.0])])
def test_refuses_targets(targets: torch.Tensor) -> None:
    with pytest.raises(DataError, match="targets"):
        solve_logistic(torch.ones(2, 1), targets, [1.0])


def test_refuses_a_tolerance_of_nothing() -> None:
    with pytest.raises(UsageError, match="tolerance is 0"):
        solve_logistic(torch.ones(2, 1), torch.tensor([0, 1]), [1.0], tolerance=0)

"""The group lasso: against its optimality conditions in NumPy, and what its norms say of features."""

import numpy as np
import pytest
import torch

from reuse.errors import UsageError
from reuse.heads.group_lasso import relevances, shrunk, solve_group_lasso

CLASSES = 3


def problem(seed: int = 0, rows: int = 60, columns: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features in a standard scale and classes that follow from the first three of them."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, columns))
    y = (2 * x[:, :CLASSES] + draw.normal(size=(rows, CLASSES))).argmax(1)
    return torch.from_numpy((x - x.mean(0)) / x.std(0)), torch.from_numpy(y)


def gradient(x: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of the mean cross-entropy, with respect to the weight and to the bias."""
    logits = x @ weight.T + bias
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    errors = (shares - np.eye(CLASSES)[y]) / len(x)
    return errors.T @ x, errors.sum(0)


@pytest.mark.parametrize("penalty", [0.003, 0.03, 0.1])
def test_it_is_the_optimum(penalty: float) -> None:
    """On a feature that is used the gradient undoes the penalty's; on any other it is no longer than the penalty."""
    x, y = problem()
    weight, bias = (t.numpy() for t in solve_group_lasso(x, y, penalty, CLASSES, iterations=3000))
    slopes, bias_slopes = gradient(x.numpy(), y.numpy(), weight, bias)
    norms = np.sqrt((weight**2).sum(0))
    used = norms > 0
    assert 0 < used.sum() < len(used) or penalty < 0.01
    assert np.allclose(slopes[:, used], -penalty * weight[:, used] / norms[used], atol=1e-6)
    assert (np.sqrt((slopes[:, ~used] ** 2).sum(0)) <= penalty + 1e-6).all()
    assert np.allclose(bias_slopes, 0, atol=1e-6)


def test_norms_shrink_by_as_much_and_not_below_nothing() -> None:
    weight = np.random.default_rng(0).normal(size=(3, 8))
    norms = np.sqrt((weight**2).sum(0))
    expected = np.where(norms > 1.5, weight * (norms - 1.5) / norms, 0)
    assert np.allclose(shrunk(torch.from_numpy(weight), 1.5), expected)


def test_the_features_that_classes_follow_from_are_the_most_relevant() -> None:
    x, y = problem()
    found = relevances(x, y, CLASSES, strength=0.3)
    assert set(found.argsort(descending=True)[:CLASSES].tolist()) == {0, 1, 2}


def test_features_left_out_follow_in_the_order_in_which_a_smaller_penalty_takes_them() -> None:
    x, y = problem()
    strong, weak = relevances(x, y, CLASSES, strength=0.6), relevances(x, y, CLASSES, strength=0.3)
    entering = [int(column) for column in ((strong <= 0) & (weak > 0)).nonzero()]
    left_out = [int(column) for column in strong.argsort(descending=True) if strong[column] <= 0]
    assert entering
    assert set(left_out[: len(entering)]) == set(entering)


def test_it_does_not_depend_on_the_order_of_features() -> None:
    x, y = problem()
    order = torch.from_numpy(np.random.default_rng(1).permutation(x.shape[1]))
    assert torch.allclose(relevances(x[:, order], y, CLASSES), relevances(x, y, CLASSES)[order], atol=1e-6)


def test_features_that_say_nothing_have_no_relevance() -> None:
    _, y = problem()
    assert torch.equal(relevances(torch.zeros(60, 4), y, CLASSES), torch.zeros(4))
    with pytest.raises(UsageError, match="above 0"):
        solve_group_lasso(torch.zeros(60, 4), y, 0.0, CLASSES)

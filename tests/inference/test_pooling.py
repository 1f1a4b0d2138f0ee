"""Pooling against expectation-maximisation, closed forms and arithmetic."""

import numpy as np
import pytest
import torch
from torch import Tensor

from reuse.errors import DataError, RunError, UsageError
from reuse.inference.pooling import average_predictions, average_weights, fit_weights

DRAW = torch.Generator().manual_seed(0)


def mixture_weights(likelihoods: Tensor, steps: int = 20000) -> Tensor:
    """The weights of a mixture of fixed densities by expectation-maximisation, `(members, rows)` of likelihoods."""
    weights = torch.full((len(likelihoods),), 1 / len(likelihoods), dtype=torch.float64)
    for _ in range(steps):
        shares = weights[:, None] * likelihoods
        weights = (shares / shares.sum(0)).mean(1)
    return weights


def test_means_are_weighted() -> None:
    one, other = np.array([[0.2, 0.8]]), np.array([[0.6, 0.4]])
    np.testing.assert_allclose(average_predictions([one, other]), [[0.4, 0.6]])
    np.testing.assert_allclose(average_predictions([one, other], [3, 1]), [[0.3, 0.7]])
    tensors = average_predictions([torch.from_numpy(one), torch.from_numpy(other)], [0, 2])
    torch.testing.assert_close(tensors, torch.from_numpy(other))


def test_classes_are_mixed_as_expectation_maximisation_does() -> None:
    members = [torch.randn(60, 4, generator=DRAW, dtype=torch.float64).softmax(1) for _ in range(3)]
    labels = torch.randint(4, (60,), generator=DRAW)
    found = fit_weights(members, labels, "classification")
    likelihoods = torch.stack([values[torch.arange(60), labels] for values in members])
    assert found == pytest.approx(mixture_weights(likelihoods).tolist(), abs=1e-3)
    assert sum(found) == pytest.approx(1)


def test_labels_are_mixed_as_expectation_maximisation_does() -> None:
    members = [torch.rand(60, 3, generator=DRAW, dtype=torch.float64) for _ in range(3)]
    labels = (torch.rand(60, 3, generator=DRAW) < 0.4).float()
    found = fit_weights(members, labels, "multilabel")
    likelihoods = torch.stack([torch.where(labels > 0, values, 1 - values).flatten() for values in members])
    assert found == pytest.approx(mixture_weights(likelihoods).tolist(), abs=1e-3)


@pytest.mark.parametrize("size", [1.0, 1e6])
def test_numbers_are_mixed_by_least_squares(size: float) -> None:
    truth = torch.randn(50, 2, generator=DRAW, dtype=torch.float64)
    one, other = (truth + s * torch.randn(50, 2, generator=DRAW, dtype=torch.float64) for s in (0.3, 0.5))
    found = fit_weights([one * size, other * size], truth * size, "regression")
    apart = one - other
    share = float(((truth - other) * apart).sum() / apart.square().sum())
    assert 0.1 < share < 0.9
    assert found == pytest.approx((share, 1 - share), abs=1e-5)


def test_a_member_that_only_harms_counts_nothing() -> None:
    truth = torch.arange(20.0)[:, None]
    assert fit_weights([truth, truth + 5], truth, "regression") == pytest.approx((1.0, 0.0), abs=1e-6)
    sure = torch.eye(2)[torch.arange(20) % 2].double()
    found = fit_weights([sure, 1 - sure], torch.arange(20) % 2, "classification")  # probabilities of exactly 0
    assert found == pytest.approx((1.0, 0.0), abs=1e-6)


def test_what_is_no_weight_is_refused() -> None:
    rows = np.ones((2, 2))
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(UsageError, match="one of 0 or more for each"):
            average_predictions([rows, rows], weights)
    with pytest.raises(UsageError, match="one shape"):
        average_predictions([rows, rows[:1]])
    with pytest.raises(UsageError, match="one shape"):
        average_predictions([])
    with pytest.raises(DataError, match="not finite"):
        fit_weights([torch.full((2, 1), torch.nan)], torch.zeros(2, 1), "regression")


def test_averages_are_means_in_the_tensors_types() -> None:
    first = {"w": torch.tensor([1.0, 2.0]), "h": torch.tensor([1.0], dtype=torch.float16), "n": torch.tensor(3)}
    other = {"w": torch.tensor([2.0, 6.0]), "h": torch.tensor([2.0], dtype=torch.float16), "n": torch.tensor(9)}
    found = average_weights([first, other])
    assert found["w"].tolist() == [1.5, 4.0]
    assert (found["h"].dtype, found["h"].item()) == (torch.float16, 1.5)
    assert found["n"].item() == 3
    assert average_weights([first])["n"] is not first["n"]
    with pytest.raises(RunError, match=r"differ in w, \(2,\) and \(1,\)"):
        average_weights([first, {**other, "w": torch.zeros(1)}])
    with pytest.raises(RunError, match="differ in x"):
        average_weights([first, {**other, "x": torch.zeros(1)}])
    with pytest.raises(UsageError, match="no weights"):
        average_weights([])

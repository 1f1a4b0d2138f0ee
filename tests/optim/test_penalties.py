"""Penalties and their gradients against formulas."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from reuse.errors import UsageError
from reuse.optim.penalties import Penalty, l1, l2, l2_sp

AMOUNTS = {"low": 0.1, "high": 0.02, "none": 0.0}


def weights(dtype: torch.dtype = torch.float64) -> dict[str, Parameter]:
    draw = torch.Generator().manual_seed(0)
    shapes = {"low": (3, 4), "other": (2,), "high": (2, 3, 2), "none": (3,)}
    found = {n: Parameter(torch.randn(s, generator=draw, dtype=torch.float64).to(dtype)) for n, s in shapes.items()}
    with torch.no_grad():
        found["low"][0] = 0
    return found


def together(*penalties: Penalty) -> Penalty:
    """As a training step adds them up."""
    return lambda: torch.stack([penalty() for penalty in penalties]).sum()


@pytest.mark.parametrize(
    ("make", "value", "slope"),
    [
        (lambda w: l1(w, AMOUNTS), lambda w: w.abs(), torch.sign),
        (lambda w: l2(w, AMOUNTS), lambda w: w**2, lambda w: 2 * w),
        (lambda w: together(l1(w, AMOUNTS), l2(w, AMOUNTS)), lambda w: w.abs() + w**2, lambda w: torch.sign(w) + 2 * w),
    ],
)
def test_value_and_gradient_are_the_formulas(
    make: Callable[[dict[str, Parameter]], Penalty],
    value: Callable[[Tensor], Tensor],
    slope: Callable[[Tensor], Tensor],
) -> None:
    given = weights()
    found = make(given)()
    found.backward()
    plain = {name: weight.detach() for name, weight in given.items()}
    torch.testing.assert_close(found.detach(), 0.1 * value(plain["low"]).sum() + 0.02 * value(plain["high"]).sum())
    for name, amount in [("low", 0.1), ("high", 0.02)]:
        torch.testing.assert_close(given[name].grad, amount * slope(plain[name]))
    assert given["other"].grad is None
    assert given["none"].grad is None


@pytest.mark.parametrize("make", [l1, l2])
def test_weights_of_zero_have_a_gradient_of_zero(make: Callable[..., Penalty]) -> None:
    zero = Parameter(torch.zeros(3))
    make({"zero": zero}, {"zero": 1.0})().backward()
    assert zero.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("make", [l1, l2])
def test_it_is_a_term_of_the_loss_like_any_other(make: Callable[..., Penalty]) -> None:
    given = weights()
    loss = make(given, AMOUNTS)() * 3 + given["high"].sum()
    loss.backward()
    alone = weights()
    make(alone, AMOUNTS)().backward()
    torch.testing.assert_close(given["high"].grad, 3 * alone["high"].grad + 1)
    assert torch.autograd.gradcheck(lambda w: make({"w": w}, {"w": 0.3})(), (weights()["high"],))


def test_a_penalty_follows_the_weights_as_they_move() -> None:
    given = weights()
    penalty = l2(given, AMOUNTS)
    before = penalty().item()
    with torch.no_grad():
        given["low"].mul_(0)
        given["high"].mul_(2)
    assert penalty().item() == pytest.approx(0.02 * float(given["high"].detach().square().sum()))
    assert penalty().item() != pytest.approx(before)


def test_pull_towards_the_start() -> None:
    given = weights()
    anchors = {"low": given["low"].detach(), "high": torch.zeros(2, 3, 2, dtype=torch.float64)}
    penalty = l2_sp(given, anchors, 0.3, 0.05)
    with torch.no_grad():
        given["low"].add_(0.5)  # the anchor is a copy, so it does not move along
    found = penalty()
    found.backward()
    fresh = given["other"].detach().square().sum() + given["none"].detach().square().sum()
    expected = 0.3 * (0.25 * 12 + given["high"].detach().square().sum()) + 0.05 * fresh
    torch.testing.assert_close(found.detach(), expected)
    torch.testing.assert_close(given["low"].grad, torch.full((3, 4), 0.3 * 2 * 0.5, dtype=torch.float64))
    torch.testing.assert_close(given["none"].grad, 0.05 * 2 * given["none"].detach())


@pytest.mark.parametrize("amounts", [(0.3, 0.0), (0.0, 0.3)])
def test_one_half_of_the_pull_alone(amounts: tuple[float, float]) -> None:
    given = weights()
    l2_sp(given, {"low": torch.zeros(3, 4), "high": torch.zeros(2, 3, 2)}, *amounts)().backward()
    moved = {name for name, weight in given.items() if weight.grad is not None}
    assert moved == ({"low", "high"} if amounts[0] else {"other", "none"})


def test_frozen_weights_are_left_out() -> None:
    given = weights()
    given["low"].requires_grad_(False)
    assert l2(given, AMOUNTS)().item() == pytest.approx(0.02 * float(given["high"].detach().square().sum()))
    found = l2_sp(given, {"low": torch.zeros(3, 4), "high": torch.zeros(2, 3, 2)}, 1.0, 0.0)()
    assert found.item() == pytest.approx(float(given["high"].detach().square().sum()))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda w: l1(w, {"lov": 0.1}), "'low'"),
        (lambda w: l2(w, {"low": -0.1}), "0 or more"),
        (lambda w: l2(w, {"low": float("nan")}), "0 or more"),
        (lambda w: l2(w, {"low": 0.0}), "no weight that trains"),
        (lambda w: l2_sp(w, {}, 0.1, 0.1), "no anchors"),
        (lambda w: l2_sp(w, {"lov": torch.zeros(3, 4)}, 0.1, 0.1), "'low'"),
        (lambda w: l2_sp(w, {"low": torch.zeros(4, 3)}, 0.1, 0.1), r"\(4, 3\).*\(3, 4\)"),
        (lambda w: l2_sp(w, {"low": torch.zeros(3, 4)}, -0.1, 0.1), "0 or more"),
    ],
)
def test_wrong_arguments_are_refused(make: Callable[[dict[str, Parameter]], Penalty], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make(weights())

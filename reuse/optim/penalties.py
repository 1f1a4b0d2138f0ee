"""Penalties on weights, which are added to the loss.

The convention is Keras's: l2 is `amount * sum(w ** 2)`, without a half, so its gradient is `2 * amount * w`. The weight
decay of plain SGD does the same at twice the amount.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from reuse.errors import UsageError
from reuse.menus import suggest

Penalty = Callable[[], Tensor]
"""Returns a scalar of the weights as they are now, with a gradient; it never waits for the device."""


def l1(weights: Mapping[str, Parameter], amounts: Mapping[str, float]) -> Penalty:
    """Return the penalty `sum of amount * sum(|w|)`.

    Args:
        weights: by name; frozen ones are left out, as they cannot move.
        amounts: of some of these weights, 0 or more.

    Raises:
        UsageError: an amount is out of range or of no weight, or nothing that trains is penalised.
    """
    chosen, factors = _bind(weights, amounts, "l1")
    return lambda: _sum(_AbsoluteSum, factors, chosen)


def l2(weights: Mapping[str, Parameter], amounts: Mapping[str, float]) -> Penalty:
    """Return the penalty `sum of amount * sum(w ** 2)`; arguments and errors as of `l1`."""
    chosen, factors = _bind(weights, amounts, "l2")
    return lambda: _sum(_SquareSum, factors, chosen)


def l2_sp(
    weights: Mapping[str, Parameter], anchors: Mapping[str, Tensor], amount: float, fresh_amount: float
) -> Penalty:
    """Return the pull of reused weights towards where they began (Li et al. 2018, arXiv:1802.01483).

    `amount * sum((w - anchor) ** 2)` over weights with an anchor, `fresh_amount * sum(w ** 2)` over the others.
    The paper writes half of each: its alpha and beta are twice these.

    Args:
        weights: by name; frozen ones are left out.
        anchors: the pretrained weights by the same names; they are copied.
        amount: of the pull, 0 or more.
        fresh_amount: of the penalty on weights that were not reused, 0 or more.

    Raises:
        UsageError: an amount is out of range, an anchor is of no weight or of another shape, or there is none.
    """
    for name, anchor in anchors.items():
        if name not in weights:
            raise UsageError(f"l2_sp has an anchor for {name!r}, which is no weight: {suggest(name, weights)}")
        if anchor.shape != weights[name].shape:
            shapes = f"{tuple(anchor.shape)} and the weight {tuple(weights[name].shape)}"
            raise UsageError(f"the anchor of {name} is {shapes}: adapt it, or leave it out as fresh")
    if not anchors:
        raise UsageError("l2_sp has no anchors: give the pretrained weights, or use l2")
    order = sorted(weights, key=lambda name: name not in anchors)  # stable: anchored ones first
    amounts = {name: amount if name in anchors else fresh_amount for name in order}
    names = [name for name in order if weights[name].requires_grad and amounts[name]]
    chosen, factors = _bind({name: weights[name] for name in order}, amounts, "l2_sp")
    fixed = [anchors[n].detach().to(weights[n], copy=True) for n in names if n in anchors]

    def penalty() -> Tensor:
        moved = _differences(chosen[: len(fixed)], fixed)
        return _sum(_SquareSum, factors, [*moved, *chosen[len(fixed) :]])

    return penalty


class _AbsoluteSum(torch.autograd.Function):
    """`sum of factor * sum(|w|)`, with a gradient of three kernels; autograd's own takes twice the time."""

    @staticmethod
    def forward(ctx: Any, factors: list[float], *weights: Tensor) -> Tensor:
        ctx.save_for_backward(*weights)
        ctx.factors = factors
        return torch.stack(torch._foreach_mul(torch._foreach_norm(weights, 1), factors)).sum()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        signs = torch._foreach_sign(ctx.saved_tensors)
        return None, *torch._foreach_mul(torch._foreach_mul(signs, ctx.factors), slopes[0])


class _SquareSum(torch.autograd.Function):
    """`sum of factor * sum(w ** 2)`, as `_AbsoluteSum`."""

    @staticmethod
    def forward(ctx: Any, factors: list[float], *weights: Tensor) -> Tensor:
        ctx.save_for_backward(*weights)
        ctx.factors = [2 * factor for factor in factors]
        norms = torch._foreach_norm(weights)
        return torch.stack(torch._foreach_mul(torch._foreach_mul(norms, norms), factors)).sum()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(torch._foreach_mul(ctx.saved_tensors, ctx.factors), slopes[0])


def _sum(kind: type[torch.autograd.Function], factors: list[float], weights: list[Tensor]) -> Tensor:
    total: Tensor = kind.apply(factors, *weights)
    return total


def _differences(weights: list[Tensor], anchors: list[Tensor]) -> list[Tensor]:
    return [*torch._foreach_sub(weights, anchors)] if weights else []


def _bind(
    weights: Mapping[str, Parameter], amounts: Mapping[str, float], name: str
) -> tuple[list[Tensor], list[float]]:
    """Return the weights that train and have an amount, in the order of `weights`, and these amounts."""
    for weight, amount in amounts.items():
        if weight not in weights:
            raise UsageError(f"{name} has an amount for {weight!r}, which is no weight: {suggest(weight, weights)}")
        if not (math.isfinite(amount) and amount >= 0):
            raise UsageError(f"{name} of {weight} is {amount}: give a finite number of 0 or more")
    names = [known for known in weights if weights[known].requires_grad and amounts.get(known)]
    if not names:
        raise UsageError(f"{name} penalises no weight that trains: give an amount above 0 for one that is not frozen")
    chosen: list[Tensor] = [weights[known] for known in names]
    return chosen, [float(amounts[known]) for known in names]

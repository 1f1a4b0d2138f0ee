"""Gradient clipping: by value, by norm, by each tensor's norm, adaptive.

By value changes the direction, by norm keeps it: [0.9, 100] clipped at 1 is [0.9, 1] by value and [0.009, 0.99996]
by norm.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from reuse.errors import UsageError

Clip = Callable[[Sequence[Parameter]], object]
"""Changes the gradients of parameters in place; a parameter without one is passed over. None waits for the device."""


def clip_by_value(limit: float) -> Clip:
    """Return a clip that brings every entry of the gradients into [-limit, limit].

    Raises:
        UsageError: the limit is not above 0.
    """
    _checked("clip value", limit)

    def clip(parameters: Sequence[Parameter]) -> None:
        held = [parameter for parameter in parameters if parameter.grad is not None]
        if held:  # torch's fails on none
            clip_grad_value_(held, limit)

    return clip


def clip_by_norm(limit: float) -> Clip:
    """Return a clip that scales all gradients together to a norm of at most `limit`, torch's `clip_grad_norm_`.

    Raises:
        UsageError: the limit is not above 0.
    """
    return partial(clip_grad_norm_, max_norm=_checked("clip norm", limit))


def clip_by_layer_norm(limit: float) -> Clip:
    """Return a clip that scales each tensor's gradient by itself to a norm of at most `limit`, Keras's `clipnorm`.

    Raises:
        UsageError: the limit is not above 0.
    """
    _checked("clip layer norm", limit)

    @torch.no_grad()
    def clip(parameters: Sequence[Parameter]) -> None:
        gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
        if gradients:
            factors = torch._foreach_norm(gradients)
            torch._foreach_reciprocal_(factors)  # of a norm of 0 too, whose infinity the clamp takes away
            torch._foreach_mul_(factors, limit)
            torch._foreach_clamp_max_(factors, 1.0)
            torch._foreach_mul_(gradients, factors)

    return clip


def clip_adaptive(factor: float) -> Clip:
    """Return a clip of each unit's gradient to `factor` times the norm of its weights, timm's.

    The paper leaves the output layer out (Brock et al. 2021, arXiv:2102.06171): give the other parameters only.

    Raises:
        UsageError: the factor is not above 0.
    """
    # Importing timm takes over a second, which a training without it need not spend.
    from timm.utils.agc import adaptive_clip_grad

    return partial(adaptive_clip_grad, clip_factor=_checked("adaptive clip factor", factor))


def _checked(what: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{what} is {value}: give a finite number above 0, or leave the setting out")
    return value

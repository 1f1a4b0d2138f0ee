"""Optimizers whose updates are written out, in as few passes over memory as it takes.

The weights of many heads are more than a processor's cache, so that what counts is how often they, their gradients and
states are read and written. torch's optimizers move weights themselves, at one rate; an update that is only returned
goes to the weights in one more pass, each head's at its own rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW

from reuse.optim.groups import OptimizerSettings
from reuse.optim.optimizers import build_optimizer


@dataclass
class Moments:
    """What an update rule remembers of a parameter.

    Attributes:
        steps: how many it has taken.
        tensors: running means of gradients, as the parameter.
    """

    steps: int = 0
    tensors: list[Tensor] = field(default_factory=list)


class UpdateRule(Protocol):
    """What makes updates of gradients."""

    @property
    def decoupled(self) -> bool:
        """Whether weights decay by themselves, and not by way of their gradients."""
        ...

    def update(self, gradient: Tensor, moments: Moments) -> tuple[Tensor, float]:
        """Return what is to be subtracted from weights at a rate of 1, as a tensor and a factor of it.

        Args:
            gradient: may be changed, and the tensor returned may be it, or one of the moments.
            moments: of this parameter, changed.
        """
        ...


@dataclass(frozen=True)
class Plain:
    """The gradient itself."""

    decoupled: bool = False

    def update(self, gradient: Tensor, moments: Moments) -> tuple[Tensor, float]:
        """Return the gradient."""
        moments.steps += 1
        return gradient, 1.0


@dataclass(frozen=True)
class Momentum:
    """b = μ b + g, and the update is b, or g + μ b (Nesterov), as in torch's `SGD`."""

    momentum: float
    nesterov: bool
    decoupled: bool = False

    def update(self, gradient: Tensor, moments: Moments) -> tuple[Tensor, float]:
        """Return the running sum of gradients, or what Nesterov makes of it."""
        moments.steps += 1
        if not moments.tensors:
            moments.tensors = [torch.zeros_like(gradient)]
        (total,) = moments.tensors
        torch.add(gradient, total, alpha=self.momentum, out=total)
        return (gradient.add_(total, alpha=self.momentum), 1.0) if self.nesterov else (total, 1.0)


@dataclass(frozen=True)
class Moment:
    """The mean of gradients by the root of the mean of their squares, both corrected for their start (torch's `Adam`).

    m / (1 - β₁ᵗ) / (√(v / c²) + ε) with c² = 1 - β₂ᵗ is c / (1 - β₁ᵗ) times m / (√v + c ε), which takes a pass less.
    """

    betas: tuple[float, float]
    epsilon: float
    decoupled: bool

    def update(self, gradient: Tensor, moments: Moments) -> tuple[Tensor, float]:
        """Return the mean by the root of the mean square."""
        moments.steps += 1
        if not moments.tensors:
            moments.tensors = [torch.zeros_like(gradient), torch.zeros_like(gradient)]
        (first, second), (mean, square) = self.betas, moments.tensors
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        correction = (1 - second**moments.steps) ** 0.5
        torch.sqrt(square, out=gradient).add_(correction * self.epsilon)
        return torch.div(mean, gradient, out=gradient), correction / (1 - first**moments.steps)


def update_rule(settings: OptimizerSettings) -> UpdateRule | None:
    """Return what torch's optimizer of these settings does, or None where that is not written out here.

    Raises:
        UsageError: the optimizer cannot be used at all.
    """
    own = OptimizerSettings(settings.name, 1.0, settings.momentum)
    optimizer = build_optimizer(own, [("weight", nn.Parameter(torch.zeros(1, 1)))])
    given: Mapping[str, Any] = optimizer.param_groups[0]
    if given.get("dampening") or given.get("amsgrad"):
        return None
    if type(optimizer) is SGD:
        return Momentum(given["momentum"], given["nesterov"]) if given["momentum"] else Plain()
    if type(optimizer) in (Adam, AdamW):
        return Moment(given["betas"], given["eps"], bool(given["decoupled_weight_decay"]))
    return None

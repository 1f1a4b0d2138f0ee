"""One step of many heads' optimizers at once, each head with its own rate and decay.

torch's optimizers take one rate for a tensor, and the weights of all heads are one tensor. So heads that share an
optimizer make updates U of their gradients, and each head's weights become W - rate · U. The updates of SGD are written
out. Any other optimizer is given zeros for weights, and a rate of 1: what it makes of them in a step is -U. That is
exact for every optimizer that works on each number alone, does not look at the weights but for their decay, and moves
in proportion to the rate; the others are refused. Decay is added by hand: to the gradient, or, where the optimizer's is
decoupled (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101), to the weights.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from reuse.errors import UsageError
from reuse.menus import parse_named
from reuse.optim.groups import OptimizerSettings
from reuse.optim.optimizers import build_optimizer

STACKABLE = (
    "sgd",
    "momentum",
    "nesterov",
    "adagrad",
    "adadelta",
    "rmsprop",
    "adam",
    "adamw",
    "adamax",
    "nadam",
    "radam",
)
"""Optimizers that can step for many heads at once."""

Tensors = dict[str, Tensor]


def check_stackable(name: str) -> None:
    """Raise a UsageError where the optimizer `name` cannot step for many heads at once."""
    if parse_named(name, "optimizer").name not in STACKABLE:
        raise UsageError(
            f"the optimizer {name} cannot step for many heads at once, as what it does to a weight depends on others, "
            f"or not in proportion on the rate: choose one of {', '.join(STACKABLE)}, or train its heads one by one"
        )


def arranged(optimizers: Sequence[OptimizerSettings], rows: Sequence[int]) -> list[int]:
    """Return the numbers of the heads in an order in which those that are moved together lie side by side.

    Args:
        optimizers: of each head.
        rows: a number for each head, equal where heads learn from the same rows.

    Raises:
        UsageError: an optimizer cannot step for many heads at once.
    """
    for name in {settings.name for settings in optimizers}:
        check_stackable(name)
    return sorted(range(len(optimizers)), key=lambda head: _kind(optimizers[head], rows[head]))


class StackedOptimizer:
    """Optimizer of many heads.

    Args:
        parameters: stacked over heads that `arranged` has put in order, by name: `(heads, *shape)`; changed in place.
        decaying: names of the parameters that decay where not all do.
        optimizers: settings of each head.
        rows: a number for each head, equal where heads learn from the same rows.

    Raises:
        UsageError: an optimizer cannot be used.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        decaying: Sequence[str],
        optimizers: Sequence[OptimizerSettings],
        rows: Sequence[int],
    ) -> None:
        self._groups: list[tuple[slice, int, _Group]] = []
        for _, some in groupby(range(len(optimizers)), lambda head: _kind(optimizers[head], rows[head])):
            first, *others = some
            heads = slice(first, first + 1 + len(others))
            weights = {name: tensor[heads] for name, tensor in parameters.items()}
            self._groups.append((heads, rows[first], _Group(weights, decaying, optimizers[heads])))

    def step(self, gradients: Tensors, rates: Tensor, moves: Sequence[bool]) -> None:
        """Take a step, without gradients being followed.

        Args:
            gradients: by name, stacked; they are changed.
            rates: of each head at this step, `(heads,)`.
            moves: whether the heads that learn from the rows of a number move in this step.
        """
        for heads, rows, group in self._groups:
            if moves[rows]:
                group.step({name: gradient[heads] for name, gradient in gradients.items()}, rates[heads])


class _Group:
    """Heads that share their optimizer, but for its rates and decays, and their rows: they always move together."""

    def __init__(self, weights: Tensors, decaying: Sequence[str], optimizers: Sequence[OptimizerSettings]) -> None:
        self.weights, self.updates = weights, _updates(weights, optimizers[0])
        self.decays, self.factors = Tensors(), Tensors()
        for name, tensor in weights.items():
            decays = [own.weight_decay if own.decay_all or name in decaying else 0.0 for own in optimizers]
            if any(decays):
                self.decays[name] = _beside(tensor.new_tensor(decays), tensor)
            if any(name in own.rates for own in optimizers):
                self.factors[name] = tensor.new_tensor([own.rates.get(name, 1.0) for own in optimizers])

    def step(self, gradients: Tensors, rates: Tensor) -> None:
        own = {n: _beside(rates * self.factors[n] if n in self.factors else rates, t) for n, t in self.weights.items()}
        for name, decay in self.decays.items():
            if self.updates.decoupled:
                self.weights[name].mul_(1 - own[name] * decay)
            else:
                gradients[name].addcmul_(self.weights[name], decay)
        updates = self.updates.of(gradients)
        for name, weights in self.weights.items():
            weights.addcmul_(updates[name], own[name], value=self.updates.sign)


class _SgdUpdates:
    """Updates of SGD: b = μ b + g, and the update is b, or g + μ b (Nesterov); without momentum it is g.

    Weights of many heads are more than a processor's cache, so that what counts is how often they, their gradients and
    sums are read and written.
    """

    sign, decoupled = -1, False

    def __init__(self, parameters: Tensors, momentum: float, nesterov: bool) -> None:
        self.momentum, self.nesterov = momentum, nesterov
        self.sums = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()} if momentum else {}

    def of(self, gradients: Tensors) -> Tensors:
        """Return the updates that gradients make; they may be the gradients, changed."""
        for name, total in self.sums.items():
            torch.add(gradients[name], total, alpha=self.momentum, out=total)
            gradients[name] = gradients[name].add_(total, alpha=self.momentum) if self.nesterov else total
        return gradients


class _TorchUpdates:
    """Updates of a torch optimizer, less than 0 where weights are to fall."""

    sign = 1

    def __init__(self, parameters: Tensors, settings: OptimizerSettings) -> None:
        self.zeros = {name: nn.Parameter(torch.zeros_like(tensor)) for name, tensor in parameters.items()}
        own = OptimizerSettings(settings.name, 1.0, settings.momentum)
        self.optimizer = build_optimizer(own, list(self.zeros.items()))
        group = self.optimizer.param_groups[0]
        self.decoupled = bool(group.get("decoupled_weight_decay", isinstance(self.optimizer, AdamW)))

    def of(self, gradients: Tensors) -> Tensors:
        """Return the updates that gradients make."""
        for name, zeros in self.zeros.items():
            zeros.zero_().grad = gradients[name]
        self.optimizer.step()
        return dict(self.zeros)


def _updates(parameters: Tensors, settings: OptimizerSettings) -> _SgdUpdates | _TorchUpdates:
    updates = _TorchUpdates(parameters, settings)
    group = updates.optimizer.param_groups[0]
    if type(updates.optimizer) is SGD and not group["dampening"]:
        return _SgdUpdates(parameters, group["momentum"], group["nesterov"])
    return updates


def _kind(settings: OptimizerSettings, rows: int) -> tuple[str, float, int]:
    """Return what heads that are moved together have in common."""
    return settings.name, -1.0 if settings.momentum is None else settings.momentum, rows


def _beside(values: Tensor, tensor: Tensor) -> Tensor:
    """Return values of heads `(heads,)` in a shape that spreads over `tensor`, `(heads, ...)`."""
    return values.reshape(-1, *[1] * (tensor.ndim - 1))

"""One step of many heads' optimizers at once, each head with its own rate and decay.

torch's optimizers take one rate for a tensor, and the weights of all heads are one tensor. What `update_rules` writes
out gives an update U from a gradient, and W - rate · U is the step of a head. Any other optimizer is given zeros for
weights, and a rate of 1: what it makes of them in a step is -U. That is exact for every optimizer that works on each
number alone, does not look at the weights but for their decay, and moves in proportion to the rate; the others are
refused. Decay is added by hand: to the gradient, or, where the optimizer's is decoupled (Loshchilov & Hutter 2019,
https://arxiv.org/abs/1711.05101), to the weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from reuse.errors import UsageError
from reuse.heads.update_rules import Moments, Plain, update_rule
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

Kind = tuple[str, float | None]
"""A name with its arguments, and the momentum: what heads of one torch optimizer have in common."""


def check_stackable(name: str) -> None:
    """Raise a UsageError where the optimizer `name` cannot step for many heads at once."""
    if parse_named(name, "optimizer").name not in STACKABLE:
        raise UsageError(
            f"the optimizer {name} cannot step for many heads at once, as what it does to a weight depends on others, "
            f"or not in proportion on the rate: choose one of {', '.join(STACKABLE)}, or train its heads one by one"
        )


@dataclass(frozen=True)
class _Slice:
    """Heads that lie side by side and share a kind of optimizer and their rows: these are always moved together."""

    first: int
    last: int
    kind: Kind
    rows: int

    def of(self, tensor: Tensor) -> Tensor:
        """Return the part of a tensor, stacked over heads, that is these heads'."""
        return tensor[self.first : self.last]


def arranged(optimizers: Sequence[OptimizerSettings], rows: Sequence[int]) -> list[int]:
    """Return the numbers of the heads in an order in which those that are moved together lie side by side.

    Those whose updates are written out come first, and of these the plain ones.

    Args:
        optimizers: of each head.
        rows: a number for each head, equal where heads learn from the same rows.

    Raises:
        UsageError: an optimizer cannot step for many heads at once, or cannot be used at all.
    """
    for name in {settings.name for settings in optimizers}:
        check_stackable(name)
    rules = {_kind(settings): update_rule(settings) for settings in optimizers}
    ranks = {kind: (rule is None, not isinstance(rule, Plain)) for kind, rule in rules.items()}
    return sorted(range(len(optimizers)), key=lambda h: (ranks[_kind(optimizers[h])], *_key(optimizers[h]), rows[h]))


class StackedOptimizer:
    """Moves the weights of all heads.

    Args:
        parameters: stacked over heads that `arranged` has put in order, by name: `(heads, *shape)`; changed in place.
        decaying: names of the parameters that decay where not all do.
        optimizers: settings of each head.
        rows: a number for each head, equal where heads learn from the same rows.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        decaying: Sequence[str],
        optimizers: Sequence[OptimizerSettings],
        rows: Sequence[int],
    ) -> None:
        self.parameters = parameters
        slices = _slices(optimizers, rows)
        rules = {some.kind: update_rule(optimizers[some.first]) for some in slices}
        self._ruled = [
            (some, rule, {name: Moments() for name in parameters})
            for some in slices
            if (rule := rules[some.kind]) is not None
        ]
        others = [some for some in slices if rules[some.kind] is None]
        self.num_ruled = others[0].first if others else len(optimizers)
        self._updates = {name: torch.zeros_like(tensor[self.num_ruled :]) for name, tensor in parameters.items()}
        self._moving = [(some, self._own_part(some)) for some in others]
        kinds = {some.kind: optimizers[some.first] for some in others}
        self._optimizers = [self._build(settings, kind) for kind, settings in kinds.items()]
        decoupled = {kind: rule.decoupled for kind, rule in rules.items() if rule is not None}
        decoupled |= {k: _is_decoupled(own) for k, own in zip(kinds, self._optimizers, strict=True)}
        chosen = [decoupled[_kind(settings)] for settings in optimizers]
        self._coupled = self._decays(decaying, optimizers, [not some for some in chosen])
        self._decoupled = self._decays(decaying, optimizers, chosen)
        self._factors = self._rate_factors(optimizers)

    def step(self, gradients: Mapping[str, Tensor], rates: Tensor, moves: Sequence[bool]) -> None:
        """Take a step.

        Args:
            gradients: by name, stacked; they are changed.
            rates: of each head at this step, `(heads,)`; 0 for a head that does not move.
            moves: whether the heads that learn from the rows of a number move in this step.
        """
        for name, decay in self._coupled.items():
            gradients[name].addcmul_(self.parameters[name], decay)
        for some, parts in self._moving:
            for name, part in parts.items():
                part.grad = some.of(gradients[name]) if moves[some.rows] else None
        for optimizer in self._optimizers:
            optimizer.step()
        for name, weights in self.parameters.items():
            self._move(name, weights, gradients[name], rates, moves)

    def _move(self, name: str, weights: Tensor, gradient: Tensor, rates: Tensor, moves: Sequence[bool]) -> None:
        factors = self._factors.get(name)
        rate = _beside(rates if factors is None else rates * factors, weights)
        if name in self._decoupled:
            weights.mul_(1 - rate * self._decoupled[name])
        for some, rule, moments in self._ruled:
            if moves[some.rows]:
                update, factor = rule.update(some.of(gradient), moments[name])
                some.of(weights).addcmul_(update, some.of(rate), value=-factor)
        if self._moving:
            update = self._updates[name]
            weights[self.num_ruled :].addcmul_(update, rate[self.num_ruled :])
            update.zero_()

    def _own_part(self, some: _Slice) -> dict[str, nn.Parameter]:
        first, last = some.first - self.num_ruled, some.last - self.num_ruled
        return {name: nn.Parameter(update[first:last]) for name, update in self._updates.items()}

    def _build(self, settings: OptimizerSettings, kind: Kind) -> Optimizer:
        own = [(name, part) for some, parts in self._moving if some.kind == kind for name, part in parts.items()]
        optimizer = build_optimizer(OptimizerSettings(settings.name, 1.0, settings.momentum), own)
        if isinstance(optimizer, SGD) and len(own) > len(self.parameters):
            # torch's fused kernel takes momenta of all tensors or of none, and heads whose rows come later have none.
            optimizer.param_groups[0].update(fused=False, foreach=True)
        return optimizer

    def _decays(
        self, decaying: Sequence[str], optimizers: Sequence[OptimizerSettings], chosen: Sequence[bool]
    ) -> dict[str, Tensor]:
        """Return the decay of each parameter by heads, of those parameters that decay in any of the heads chosen."""
        decays = {}
        for name, tensor in self.parameters.items():
            values = [
                settings.weight_decay if one and (settings.decay_all or name in decaying) else 0.0
                for settings, one in zip(optimizers, chosen, strict=True)
            ]
            if any(values):
                decays[name] = _beside(tensor.new_tensor(values), tensor)
        return decays

    def _rate_factors(self, optimizers: Sequence[OptimizerSettings]) -> dict[str, Tensor]:
        """Return multipliers of the rate by heads, of those parameters that have any."""
        named = {name for settings in optimizers for name in settings.rates} & self.parameters.keys()
        return {n: self.parameters[n].new_tensor([s.rates.get(n, 1.0) for s in optimizers]) for n in named}


def _slices(optimizers: Sequence[OptimizerSettings], rows: Sequence[int]) -> list[_Slice]:
    keys = [(_kind(settings), number) for settings, number in zip(optimizers, rows, strict=True)]
    starts = [h for h, key in enumerate(keys) if h == 0 or key != keys[h - 1]]
    ends = [*starts[1:], len(keys)]
    return [_Slice(first, last, *keys[first]) for first, last in zip(starts, ends, strict=True)]


def _kind(settings: OptimizerSettings) -> Kind:
    return settings.name, settings.momentum


def _key(settings: OptimizerSettings) -> tuple[str, float]:
    return settings.name, -1.0 if settings.momentum is None else settings.momentum


def _is_decoupled(optimizer: Optimizer) -> bool:
    return bool(optimizer.param_groups[0].get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW)))


def _beside(values: Tensor, tensor: Tensor) -> Tensor:
    """Return values of heads `(heads,)` in a shape that spreads over `tensor`, `(heads, ...)`."""
    return values.reshape(-1, *[1] * (tensor.ndim - 1))

"""One step of many heads' optimizers at once, each head with its own rate and decay.

torch's optimizers take one rate for a tensor, and the weights of all heads are one tensor. So an optimizer is given
zeros for weights, and a rate of 1: what it makes of them in a step is the update U at that rate, and W + rate · U is
the step of a head. That is exact for every optimizer that works on each number alone, does not look at the weights but
for their decay, and moves in proportion to the rate; the others are refused. Decay is added by hand: to the gradient,
or, where the optimizer's is decoupled (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101), to the weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from reuse.errors import UsageError
from reuse.optim.named_arguments import split_arguments
from reuse.optim.optimizers import build_optimizer
from reuse.optim.settings import OptimizerSettings

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
    if split_arguments(name)[0] not in STACKABLE:
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


def arranged(optimizers: Sequence[OptimizerSettings], rows: Sequence[int]) -> list[int]:
    """Return the numbers of the heads in an order in which those that are moved together lie side by side.

    Args:
        optimizers: of each head.
        rows: a number for each head, equal where heads learn from the same rows.
    """
    return sorted(range(len(optimizers)), key=lambda h: (not _is_plain(optimizers[h]), *_key(optimizers[h]), rows[h]))


class StackedOptimizer:
    """Moves the weights of all heads.

    Args:
        parameters: stacked over heads that `arranged` has put in order, by name: `(heads, *shape)`; changed in place.
        decaying: names of the parameters that decay where not all do.
        optimizers: settings of each head.
        rows: a number for each head, equal where heads learn from the same rows.

    Raises:
        UsageError: an optimizer cannot step for many heads at once, or cannot be used at all.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        decaying: Sequence[str],
        optimizers: Sequence[OptimizerSettings],
        rows: Sequence[int],
    ) -> None:
        for name in {settings.name for settings in optimizers}:
            check_stackable(name)
        self.parameters = parameters
        self.num_plain = sum(map(_is_plain, optimizers))
        self._updates = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
        slices = [s for s in _slices(optimizers, rows) if s.first >= self.num_plain]
        self._moving = [(s.rows, s, self._own_part(s)) for s in slices]
        kinds = {s.kind: optimizers[s.first] for s in slices}
        self._optimizers = [self._build(settings, kind) for kind, settings in kinds.items()]
        decoupled = self._decoupled_heads(kinds, optimizers)
        self._coupled = self._decays(decaying, optimizers, [not some for some in decoupled])
        self._decoupled = self._decays(decaying, optimizers, decoupled)
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
        for rows, some, parts in self._moving:
            for name, part in parts.items():
                part.grad = gradients[name][some.first : some.last] if moves[rows] else None
        for optimizer in self._optimizers:
            optimizer.step()
        for name, weights in self.parameters.items():
            self._move(name, weights, gradients[name], rates)

    def _move(self, name: str, weights: Tensor, gradient: Tensor, rates: Tensor) -> None:
        factors = self._factors.get(name)
        rate = _beside(rates if factors is None else rates * factors, weights)
        if name in self._decoupled:
            weights.mul_(1 - rate * self._decoupled[name])
        if plain := self.num_plain:
            weights[:plain].addcmul_(gradient[:plain], rate[:plain], value=-1)
        if plain < len(weights):
            update = self._updates[name][plain:]
            weights[plain:].addcmul_(update, rate[plain:])
            update.zero_()

    def _own_part(self, some: _Slice) -> dict[str, nn.Parameter]:
        return {name: nn.Parameter(update[some.first : some.last]) for name, update in self._updates.items()}

    def _build(self, settings: OptimizerSettings, kind: Kind) -> Optimizer:
        own = [(name, part) for _, some, parts in self._moving if some.kind == kind for name, part in parts.items()]
        optimizer = build_optimizer(OptimizerSettings(settings.name, 1.0, settings.momentum), own)
        if isinstance(optimizer, SGD) and len(own) > len(self.parameters):
            # torch's fused kernel takes momenta of all tensors or of none, and heads whose rows come later have none.
            optimizer.param_groups[0].update(fused=False, foreach=True)
        return optimizer

    def _decoupled_heads(self, kinds: Mapping[Kind, object], optimizers: Sequence[OptimizerSettings]) -> list[bool]:
        found = {
            kind: bool(
                optimizer.param_groups[0].get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW))
            )
            for kind, optimizer in zip(kinds, self._optimizers, strict=True)
        }
        return [found.get(_kind(settings), False) for settings in optimizers]

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


def _is_plain(settings: OptimizerSettings) -> bool:
    """Return whether the update is the gradient itself, which needs no optimizer."""
    return settings.name == "sgd" and not settings.momentum


def _beside(values: Tensor, tensor: Tensor) -> Tensor:
    """Return values of heads `(heads,)` in a shape that spreads over `tensor`, `(heads, ...)`."""
    return values.reshape(-1, *[1] * (tensor.ndim - 1))

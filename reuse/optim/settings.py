"""The settings of an optimizer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from reuse.errors import UsageError


@dataclass(frozen=True)
class OptimizerSettings:
    """Which optimizer, and with what numbers.

    Attributes:
        name: a name of `reuse.optim.optimizers.OPTIMIZERS` or of `timm.optim.list_optimizers()`, either with
            `lookahead_` before it, and with arguments behind a colon: `rmsprop:alpha=0.9,eps=1e-10`.
        learning_rate: the full rate, above 0.
        momentum: for those that have one; None takes the optimizer's own.
        weight_decay: the optimizer's own kind of decay, 0 or more.
        decay_all: decay norms' scales and all biases too, that is, parameters of one dimension or none.
        rates: multipliers of the rate by full parameter name, above 0; what is not named has 1.
        since: number of the first epoch of parameters that begin to train later than the others, by full name.
        rise: epochs over which the rate of these rises to its full height, 0 or more.

    Raises:
        UsageError: a number is out of its range; the message names it.
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    momentum: float | None = None
    weight_decay: float = 0.0
    decay_all: bool = False
    rates: Mapping[str, float] = field(default_factory=dict)
    since: Mapping[str, int] = field(default_factory=dict)
    rise: float = 0.0

    def __post_init__(self) -> None:
        _check("learning rate", self.learning_rate, self.learning_rate > 0, "above 0")
        _check("weight decay", self.weight_decay, self.weight_decay >= 0, "of 0 or more")
        _check("momentum", self.momentum, self.momentum is None or 0 <= self.momentum < 1, "from 0 up to, not with, 1")
        _check("unfreeze warmup", self.rise, self.rise >= 0, "of 0 or more epochs")
        for name, rate in self.rates.items():
            _check(f"the rate multiplier of {name}", rate, rate > 0, "above 0, or freeze the layer")


def _check(what: str, value: float | None, holds: bool, expected: str) -> None:
    if not holds or (value is not None and not math.isfinite(value)):
        raise UsageError(f"{what} is {value}: give a finite number {expected}")

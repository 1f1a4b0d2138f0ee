"""Optimization, the way down the loss: optimizers, schedule, average of the weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reuse.optim.averaging import Average
from reuse.optim.groups import OptimizerSettings
from reuse.optim.schedules import Schedule


@dataclass(frozen=True)
class Optimization:
    """Optimizers, one after the other, the schedule of their rates, and what is averaged.

    Attributes:
        optimizer: the first one.
        switches: other optimizers, by the number of the first epoch that they train.
        schedule: a name of `reuse.optim.schedules.SCHEDULES`, or a function `(step, total steps) -> multiplier`.
        warmup: length of the rise to the full rate, in epochs.
        average: of the weights, which is what is measured and kept then; None: the weights themselves.

    Example:
        >>> Optimization(OptimizerSettings("nesterov", 0.1), schedule="cosine").optimizer.learning_rate
        0.1
    """

    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    switches: Mapping[int, OptimizerSettings] = field(default_factory=dict)
    schedule: str | Schedule | Callable[..., float] = "constant"
    warmup: float = 0.0
    average: Average | None = None

    def of_epoch(self, number: int) -> OptimizerSettings:
        """Return the optimizer that trains epoch `number`, from 1."""
        every = {1: self.optimizer, **self.switches}
        return every[max(first for first in every if first <= max(number, 1))]

"""Learning-rate schedules: a multiplier on each group's own rate, step by step."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from reuse.errors import UsageError
from reuse.menus import choose
from reuse.optim.curves import (
    Curve,
    EpochSpan,
    constant,
    cosine,
    exponential,
    halve,
    linear,
    piecewise,
    polynomial,
    power,
)
from reuse.optim.one_cycle import one_cycle
from reuse.optim.plateaus import halve_on_plateau, performance


@runtime_checkable
class Schedule(Protocol):
    """The course of rate and momentum in a run."""

    def multiplier(self, step: int, total: int) -> float:
        """Return the multiplier of each group's own rate at `step` of `total`, counted from 0."""
        ...

    def momentum(self, step: int, total: int) -> float | None:
        """Return the momentum at `step` of `total`, or None to leave it."""
        ...

    def observe(self, loss: float) -> None:
        """Take notice of an epoch's loss: the validation loss, or the training loss where there is none."""
        ...

    def state_dict(self) -> dict[str, float]:
        """Return what going on needs."""
        ...

    def load_state_dict(self, state: Mapping[str, float], /) -> None:
        """Put back what `state_dict` returned."""
        ...


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "linear": linear,
    "polynomial": polynomial,
    "cosine": cosine,
    "power": power,
    "exponential": exponential,
    "piecewise": piecewise,
    "halve": halve,
    "performance": performance,
    "halve_on_plateau": halve_on_plateau,
    "halving": halve_on_plateau,
    "1cycle": one_cycle,
}
"""Names and what makes the schedule, of the run's `EpochSpan` and the arguments behind the colon: `cosine:5`."""


@dataclass(frozen=True)
class WarmUp:
    """A rise in a straight line over the beginning of a schedule (Goyal et al. 2017, arXiv:1706.02677).

    Attributes:
        schedule: what follows. A curve that spans a run takes the steps that are left as its whole, and waits at its
            first value until then; others go on below the rise.
        num_steps: length of the rise; the last of them has the full rate.
    """

    schedule: Schedule
    num_steps: int

    def multiplier(self, step: int, total: int) -> float:
        """Return the multiplier of each group's own rate."""
        return min((step + 1) / self.num_steps, 1.0) * self.schedule.multiplier(*self._inner(step, total))

    def momentum(self, step: int, total: int) -> float | None:
        """Return the schedule's momentum."""
        return self.schedule.momentum(*self._inner(step, total))

    def observe(self, loss: float) -> None:
        """Pass the loss on."""
        self.schedule.observe(loss)

    def state_dict(self) -> dict[str, float]:
        """Return the schedule's."""
        return self.schedule.state_dict()

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Put the schedule's back."""
        self.schedule.load_state_dict(state)

    def _inner(self, step: int, total: int) -> tuple[int, int]:
        if isinstance(self.schedule, Curve) and self.schedule.from_start:
            return step, total
        return max(step - self.num_steps, 0), max(total - self.num_steps, 1)


def choose_schedule(
    schedule: str | Callable[..., float] | Schedule,
    *,
    steps_per_epoch: int,
    epochs: int | None = None,
    warmup_epochs: float = 0.0,
) -> Schedule | None:
    """Return the schedule that a setting means, or None where the rate never changes.

    Args:
        schedule: a name of `SCHEDULES`, with arguments behind a colon (`piecewise:5,0.1,15,0.01`, `1cycle:phases=3`);
            a function of `(step, total)`, `(step)` or `(epoch)`, told apart by its parameters' names, that returns a
            multiplier; or a schedule. Steps and epochs count from 0.
        steps_per_epoch: optimizer steps in one epoch.
        epochs: of the whole run, where known: a schedule that is longer is refused.
        warmup_epochs: epochs in which the rate rises to its full value, a fraction of one included.

    Raises:
        UsageError: the arguments are wrong, or the schedule or warm-up is longer than the run.
        UnknownNameError: there is no such schedule.

    Example:
        >>> choose_schedule("halve", steps_per_epoch=10).multiplier(25, 100)
        0.25
    """
    span = EpochSpan(steps_per_epoch, epochs)
    if isinstance(schedule, str):
        chosen = _by_name(schedule, span)
    else:
        chosen = schedule if isinstance(schedule, Schedule) else _by_function(schedule, span)
    num_steps = _warmup_steps(span, warmup_epochs)
    if num_steps:
        return WarmUp(chosen, num_steps)
    return None if schedule == "constant" else chosen


def _by_name(text: str, span: EpochSpan) -> Schedule:
    make = choose(SCHEDULES, text, "schedule", hidden=("span",))
    try:
        return make(span)
    except (OverflowError, TypeError, ValueError) as error:
        raise UsageError(f"schedule {text!r} cannot take its arguments: {error}") from error


def _by_function(function: Callable[..., float], span: EpochSpan) -> Curve:
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the schedule {function!r} is neither a name nor a function with a signature") from error
    if len(parameters) == 2:
        return Curve(function, from_start=True)
    if len(parameters) != 1:
        raise UsageError(
            f"a schedule is a function of (step, total), (step) or (epoch); this one takes ({', '.join(parameters)})"
        )
    every = span.steps_per_epoch if parameters[0] == "epoch" else 1
    return Curve(lambda step, _: function(step // every), from_start=True)


def _warmup_steps(span: EpochSpan, epochs: float) -> int:
    if not (math.isfinite(epochs) and epochs >= 0):
        raise UsageError(f"warm-up is {epochs} epochs long: give 0 or more")
    if epochs and span.epochs is not None and epochs >= span.epochs:
        raise UsageError(f"warm-up is {epochs} epochs long and the run only {span.epochs}: give fewer, or train longer")
    return round(epochs * span.steps_per_epoch)

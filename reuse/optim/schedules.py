"""Learning-rate schedules: a multiplier on each group's own rate, as a function of the step."""

import math
from collections.abc import Callable

from reuse.errors import UsageError
from reuse.lookup import lookup

Schedule = Callable[[int, int], float]
"""`(step, total steps) -> multiplier`, steps counted from 0."""


def constant(step: int, total: int) -> float:  # noqa: ARG001 - every schedule takes both
    """Leave the rate as it is."""
    return 1.0


def linear(step: int, total: int) -> float:
    """Fall in a straight line from the full rate to nothing."""
    return 1.0 - step / total


def cosine(step: int, total: int) -> float:
    """Fall along half a cosine from the full rate to nothing (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    return 0.5 * (1.0 + math.cos(math.pi * step / total))


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine, "linear": linear}


def warm_up(schedule: Schedule, num_steps: int) -> Schedule:
    """Return `schedule` begun by a rise in a straight line to the full rate (Goyal et al. 2017, arXiv:1706.02677).

    Args:
        schedule: what follows the rise; it takes the steps that are left as its whole.
        num_steps: length of the rise in steps; the last of them has the full rate.
    """
    if num_steps == 0:
        return schedule

    def warmed_up(step: int, total: int) -> float:
        if step < num_steps:
            return (step + 1) / num_steps
        return schedule(step - num_steps, total - num_steps)

    return warmed_up


def choose_schedule(schedule: str | Schedule, *, warmup_steps: int = 0) -> Schedule | None:
    """Return the schedule that a setting means, or None where the rate never changes.

    Raises:
        UsageError: the name is unknown, or the warm-up is negative.
    """
    if warmup_steps < 0:
        raise UsageError(f"warm-up is {warmup_steps} steps long: give 0 or more")
    chosen = lookup(SCHEDULES, schedule, "schedule") if isinstance(schedule, str) else schedule
    return None if chosen is constant and warmup_steps == 0 else warm_up(chosen, warmup_steps)

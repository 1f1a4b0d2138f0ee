"""The 1cycle schedule: the rate up and down once, the momentum down and up (Smith & Topin 2018, arXiv:1708.07120)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch.optim import Optimizer

from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.optim.curves import Curve, EpochSpan
from reuse.units import format_count

HIGH_MOMENTUM, LOW_MOMENTUM = 0.95, 0.85

SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": lambda fraction: 0.5 * (1.0 - math.cos(math.pi * fraction)),
    "linear": lambda fraction: fraction,
}
"""Share of the way that is gone at a fraction of the time."""


@dataclass(frozen=True)
class CyclePart:
    """A stretch from where the last one ended up to the step `end`, with the values at both ends."""

    end: float
    multipliers: tuple[float, float]
    momentums: tuple[float, float]


def one_cycle(
    span: EpochSpan,  # noqa: ARG001 - every maker takes it
    start: float = 0.3,
    phases: int = 2,
    divide: float = 25.0,
    final_divide: float = 1e4,
    shape: str = "cosine",
) -> Curve:
    """Rise from a fraction of the full rate to all of it and fall to next to nothing, as torch's OneCycleLR.

    The momentum falls from 0.95 to 0.85 and rises again meanwhile.

    Args:
        span: the run.
        start: share of the run in which the rate rises.
        phases: 2, or 3: first down to where it began, in as long as it rose, then to next to nothing.
        divide: the first rate is the full one divided by it.
        final_divide: the last rate is the first one divided by it.
        shape: `cosine` or `linear`.

    Raises:
        UsageError: a value is out of its range.
    """
    if phases not in (2, 3):
        raise UsageError(f"1cycle is given {format_count(phases, 'phase')}: give 2 or 3")
    if not 0 < start < (1 if phases == 2 else 0.5):
        raise UsageError(
            f"1cycle is given the start {start}: give a share of the run above 0 and below 1 (0.5 of three)"
        )
    if not (divide > 0 and final_divide > 0):
        raise UsageError(f"1cycle divides by {divide} and {final_divide}: give numbers above 0")
    way = lookup(SHAPES, str(shape), "shape of 1cycle")
    first, last = 1 / divide, 1 / divide / final_divide

    def value(step: int, total: int, which: str) -> float:
        return _value(_phases(total, start, phases, first, last), step, which, way)

    return Curve(
        lambda step, total: value(step, total, "multipliers"), lambda step, total: value(step, total, "momentums")
    )


def set_momentum(optimizer: Optimizer, value: float) -> bool:
    """Set the momentum of every parameter group: its `momentum`, or the first of its `betas`.

    A momentum of 0 stays: who chose plain gradient descent gets it throughout.

    Args:
        optimizer: any of torch's or timm's.
        value: from 0 up to, not with, 1.

    Returns:
        Whether any group has a momentum.
    """
    moved = False
    for group in optimizer.param_groups:
        if group.get("momentum"):
            group["momentum"], moved = value, True
        elif "momentum" not in group and group.get("betas"):
            group["betas"], moved = (value, *group["betas"][1:]), True
    return moved


def _phases(total: int, start: float, phases: int, first: float, last: float) -> list[CyclePart]:
    high, low = HIGH_MOMENTUM, LOW_MOMENTUM
    rise = CyclePart(start * total - 1, (first, 1.0), (high, low))
    if phases == 2:
        return [rise, CyclePart(total - 1, (1.0, last), (low, high))]
    fall = CyclePart(2 * start * total - 2, (1.0, first), (low, high))
    return [rise, fall, CyclePart(total - 1, (first, last), (high, high))]


def _value(phases: list[CyclePart], step: int, which: str, way: Callable[[float], float]) -> float:
    """Return the value at `step`: that of the first phase that has not ended, on its way between its two ends."""
    begin = 0.0
    for phase in phases[:-1]:
        if step <= phase.end:
            break
        begin = phase.end
    else:
        phase = phases[-1]
    old, new = getattr(phase, which)
    length = phase.end - begin
    gone = min((step - begin) / length, 1.0) if length > 0 else 1.0
    return float(old + (new - old) * way(gone))

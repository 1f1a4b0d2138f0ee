"""Schedules that are functions of the step alone, and lengths of time in a run: epochs, or `10000steps`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reuse.errors import UsageError
from reuse.menus import is_number, read_value
from reuse.units import format_count, format_epochs

Duration = float | int | str
"""A number of epochs, or a text such as `20epochs` or `10000steps`."""

OfStep = Callable[[int, int], float]
"""`(step, total steps) -> value`, steps counted from 0."""


@dataclass(frozen=True)
class EpochSpan:
    """The length of a run.

    Attributes:
        steps_per_epoch: optimizer steps in one epoch.
        epochs: of the whole run; None where that is not known yet.
    """

    steps_per_epoch: int
    epochs: int | None = None

    def steps(self, name: str, duration: Duration) -> float:
        """Return a duration in steps, a fraction of one included.

        Args:
            name: of the schedule, for the message.
            duration: see `Duration`.

        Raises:
            UsageError: it is no duration, or not above 0.
        """
        text = str(duration)
        length = read_value(text.removesuffix("steps").removesuffix("epochs").strip())
        if not (is_number(length) and 0 < length < math.inf):
            raise UsageError(f"{name} is given {text!r}: give a number of epochs above 0, or of steps as 10000steps")
        return length if text.endswith("steps") else length * self.steps_per_epoch


@dataclass(frozen=True)
class Curve:
    """A schedule without memory.

    Attributes:
        of_step: the multiplier of each group's own rate.
        momentum_of_step: the momentum; None leaves it as it is.
        from_start: whether its steps are those of the run, so that a warm-up only lies over its beginning; otherwise it
            takes what a warm-up leaves as its whole.
    """

    of_step: OfStep
    momentum_of_step: OfStep | None = None
    from_start: bool = False

    def multiplier(self, step: int, total: int) -> float:
        """Return the multiplier of each group's own rate."""
        return self.of_step(step, total)

    def momentum(self, step: int, total: int) -> float | None:
        """Return the momentum, or None to leave it."""
        return None if self.momentum_of_step is None else self.momentum_of_step(step, total)

    def observe(self, loss: float) -> None:
        """Take no notice."""

    def state_dict(self) -> dict[str, float]:
        """Return nothing: there is no memory."""
        return {}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take no notice."""


def constant(span: EpochSpan) -> Curve:  # noqa: ARG001 - every maker takes it
    """Leave the rate as it is."""
    return Curve(lambda *_: 1.0)


def linear(span: EpochSpan) -> Curve:
    """Fall in a straight line from the full rate to nothing."""
    return polynomial(span)


def polynomial(span: EpochSpan, power: float = 1.0) -> Curve:  # noqa: ARG001
    """Fall from the full rate to nothing by `(1 - step / total) ** power`, which is torch's PolynomialLR."""
    _checked("polynomial", "power", power)
    return Curve(lambda step, total: (1.0 - step / total) ** power)


def cosine(span: EpochSpan, cycles: int = 1) -> Curve:
    """Fall along half a cosine from the full rate to nothing, `cycles` times (Loshchilov & Hutter, arXiv:1608.03983).

    Each cycle begins at the full rate again and ends in a minimum of its own, of which a snapshot ensemble is made
    (Huang et al. 2017, arXiv:1704.00109). Cycles are whole steps long, the last one takes what is left; where `cycles`
    divides the epochs, each ends with an epoch.
    """
    if cycles != int(cycles) or cycles < 1:
        raise UsageError(f"cosine is given {cycles} cycles: give a whole number of 1 or more")
    if span.epochs is not None and cycles > max(span.epochs, 1):
        raise UsageError(
            f"cosine is given {format_count(cycles, 'cycle')} and the run has {format_epochs(span.epochs)}: "
            "give fewer cycles"
        )

    def of_step(step: int, total: int) -> float:
        if step >= total:
            return 0.0
        length = math.ceil(total / cycles)
        place = step % length
        length = min(length, total - (step - place))
        return 0.5 * (1.0 + math.cos(math.pi * place / length))

    return Curve(of_step)


def power(span: EpochSpan, scale: Duration = 5, exponent: float = 1.0) -> Curve:
    """Fall by `1 / (1 + t / scale) ** exponent`: to a half after one scale, to a third after two, at exponent 1.

    Args:
        span: the run.
        scale: in epochs, or in steps as `10000steps`.
        exponent: above 0.
    """
    steps = span.steps("power", scale)
    _checked("power", "exponent", exponent)
    return Curve(lambda step, _: (1.0 + step / steps) ** -exponent)


def exponential(span: EpochSpan, scale: Duration = 20) -> Curve:
    """Fall by `0.1 ** (t / scale)`: to a tenth after each scale.

    Args:
        span: the run.
        scale: in epochs, or in steps as `10000steps`.
    """
    steps = span.steps("exponential", scale)
    return Curve(lambda step, _: 0.1 ** (step / steps))


def halve(span: EpochSpan) -> Curve:
    """Halve the rate after every epoch."""
    return Curve(lambda step, _: 0.5 ** (step // span.steps_per_epoch), from_start=True)


def piecewise(span: EpochSpan, *pairs: Duration) -> Curve:
    """Take a multiplier from each boundary on: `5,0.1,15,0.01` is a tenth after 5 epochs and a hundredth after 15.

    Args:
        span: the run.
        pairs: boundary and multiplier in turn; boundaries in epochs, or in steps as `500steps`, rising.

    Raises:
        UsageError: a pair is not whole, boundaries do not rise, or one lies beyond the run.
    """
    if not pairs or len(pairs) % 2:
        raise UsageError("piecewise takes pairs of boundary and multiplier, such as piecewise:5,0.1,15,0.01")
    bounds = [span.steps("piecewise", boundary) for boundary in pairs[::2]]
    multipliers = [_checked("piecewise", "multiplier", value, allow_zero=True) for value in pairs[1::2]]
    if bounds != sorted(set(bounds)):
        raise UsageError(f"piecewise has the boundaries {list(pairs[::2])}: give them in rising order")
    if span.epochs is not None and bounds[-1] >= span.epochs * span.steps_per_epoch:
        raise UsageError(
            f"piecewise changes the rate at {pairs[-2]} and the run has only {span.epochs} epochs: "
            "train longer, or give earlier boundaries"
        )

    def of_step(step: int, total: int) -> float:  # noqa: ARG001
        return next((m for b, m in zip(bounds[::-1], multipliers[::-1], strict=True) if step >= b), 1.0)

    return Curve(of_step, from_start=True)


def _checked(name: str, what: str, value: object, *, allow_zero: bool = False) -> float:
    if not (is_number(value) and 0 <= value < math.inf) or (value == 0 and not allow_zero):
        raise UsageError(
            f"{name} is given the {what} {value!r}: give a number {'of 0 or more' if allow_zero else 'above 0'}"
        )
    return float(value)

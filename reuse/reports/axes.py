"""Axes of charts: from numbers to places in a picture, with round numbers along them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reuse.reports.markup import Html, tag

WIDTH, HEIGHT = 340.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 12.0, 8.0, 32.0
TICKS = 5
LOOKS = 6
"""How many colours there are for what is told apart."""


@dataclass(frozen=True)
class Scale:
    """Numbers along one side of a chart.

    Attributes:
        low: the number at `start`.
        high: the number at `end`, above it.
        start: a place in the picture, in pixels.
        end: another one.
        logarithmic: whether equal factors have equal lengths.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float, *, logarithmic: bool = False) -> "Scale":
        """Return the scale that holds some finite numbers between two round ones."""
        low, high = _bounds(list(values))
        if logarithmic:
            return cls(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high * 1.001)), start, end, True)
        step = _step(low, high)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step, start, end)

    @classmethod
    def along(cls, values: Iterable[float]) -> "Scale":
        """Return the scale of the bottom of a chart."""
        low, high = _bounds(list(values))
        return cls(low, high, LEFT, WIDTH - RIGHT)

    @classmethod
    def up(cls, values: Iterable[float], *, logarithmic: bool = False) -> "Scale":
        """Return the scale of the left side of a chart."""
        return cls.over(values, HEIGHT - BOTTOM, TOP, logarithmic=logarithmic)

    def at(self, value: float) -> float:
        """Return the place of a number."""
        low, high, number = (math.log10(n) if self.logarithmic else n for n in (self.low, self.high, value))
        return self.start + (number - low) / (high - low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round numbers along it, a handful."""
        if self.logarithmic:
            powers = [10.0**n for n in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)]
            return powers[:: 1 + len(powers) // (TICKS + 2)]
        step = _step(self.low, self.high)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def chart(x: Scale, y: Scale, *marks: object, name: str, below: str = "", whole: bool = False) -> Html:
    """Return a picture with axes.

    Args:
        x: along the bottom.
        y: up the left side.
        marks: what is drawn.
        name: what it shows, for those who cannot see it.
        below: what the numbers along the bottom are.
        whole: whether only whole numbers stand along the bottom.
    """
    along = [_label(below, WIDTH - RIGHT, HEIGHT - 2, "end")] if below else []
    return picture(*_lines(x, y, whole), *marks, *along, name=name)


def picture(*marks: object, name: str, width: float = WIDTH, height: float = HEIGHT, class_: str = "chart") -> Html:
    """Return an SVG picture."""
    box = f"0 0 {width:g} {height:g}"
    return tag("svg", *marks, viewBox=box, role="img", aria_label=name, class_=class_)


def short(value: float) -> str:
    """Return a number as it stands along an axis.

    Example:
        >>> short(0.30000000000000004), short(1e-5), short(12000.0)
        ('0.3', '1e-5', '12k')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size <= abs(value) < 1e12:
            return f"{value / min(size, 1e3 if letter == 'k' else size):g}{letter}"
    written = f"{value:.4g}"
    return written.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _lines(x: Scale, y: Scale, whole: bool) -> Iterable[Html]:
    for value in y.ticks:
        yield tag("line", x1=x.start, x2=x.end, y1=y.at(value), y2=y.at(value), class_="grid")
        yield _label(short(value), x.start - 6, y.at(value) + 3.5, "end")
    for value in x.ticks:
        if not whole or value == round(value):
            yield _label(short(value), x.at(value), HEIGHT - BOTTOM + 15, "middle")


def _label(words: str, x: float, y: float, anchor: str) -> Html:
    return tag("text", words, x=x, y=y, text_anchor=anchor)


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return the least and the greatest; of equal ones, some way around them."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    away = 0.5 * abs(low) or 0.5
    return low - away, high + away


def _step(low: float, high: float) -> float:
    """Return the round number that goes about five times into a range."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))

"""Line charts: what changes from epoch to epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reuse.reports.axes import BOTTOM, HEIGHT, LOOKS, TOP, Scale, chart, short
from reuse.reports.markup import Html, figure, joined, tag

MOST_POINTS = 400  # of a line: more would lie within a pixel of each other
MOST_NAMED = 100  # points of a line that say their numbers
WIDE = 50.0  # the factor between numbers from which on a logarithmic scale shows more


@dataclass(frozen=True)
class ChartLine:
    """A line of a chart.

    Attributes:
        name: what it shows.
        points: where it goes, from left to right; those that are not finite are left out.
        look: number of its colour.
        dashed: whether it is broken.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    look: int = 0
    dashed: bool = False

    @property
    def finite(self) -> list[tuple[float, float]]:
        """The points that can be drawn, at most so many."""
        some = [(x, y) for x, y in self.points if math.isfinite(x) and math.isfinite(y)]
        stride = math.ceil(len(some) / MOST_POINTS)
        return [point for place, point in enumerate(some) if place % stride == 0 or place == len(some) - 1]


@dataclass(frozen=True)
class Moment:
    """A line across a chart: something happens there.

    Attributes:
        x: where.
        name: what.
    """

    x: float
    name: str


def line_chart(
    title: str,
    lines: Sequence[ChartLine],
    *,
    moments: Sequence[Moment] = (),
    below: str = "epoch",
    may_be_logarithmic: bool = False,
) -> Html:
    """Return lines in a chart, with a legend where there are several.

    Args:
        title: what they show.
        lines: at least one of which has points.
        moments: at which something happens.
        below: what the numbers along the bottom are.
        may_be_logarithmic: whether numbers above 0 that are far apart are shown by their logarithms.
    """
    points = [point for line in lines for point in line.finite]
    heights = [y for _, y in points]
    logarithmic = may_be_logarithmic and min(heights) > 0 and max(heights) / min(heights) > WIDE
    x, y = Scale.along([x for x, _ in points]), Scale.up(heights, logarithmic=logarithmic)
    marks = [*(_across(moment, x) for moment in moments), *(_drawn(line, x, y) for line in lines)]
    drawn = chart(x, y, *marks, name=f"{title}: {_said(lines)}", below=below, whole=True)
    caption = joined([tag("strong", title), legend(lines) if len(lines) > 1 or lines[0].name else None])
    return figure(caption, drawn)


def legend(lines: Sequence[ChartLine]) -> Html:
    """Return what each line shows."""
    return tag("span", *(_entry(line) for line in lines), class_="legend")


def _entry(line: ChartLine) -> Html:
    stroke = tag("line", x1=1, x2=19, y1=5, y2=5, class_=_class(line))
    swatch = tag("svg", stroke, viewBox="0 0 20 10", class_="swatch", aria_hidden="true")
    return tag("span", swatch, line.name)


def _drawn(line: ChartLine, x: Scale, y: Scale) -> Html:
    places = [(x.at(px), y.at(py), px, py) for px, py in line.finite]
    path = " ".join(f"{left:.1f},{top:.1f}" for left, top, *_ in places)
    stride = math.ceil(len(places) / MOST_NAMED)
    named = [
        tag("circle", tag("title", f"{line.name} {short(px)}: {py:.5g}".strip()), cx=left, cy=top, r=5.0, class_="hit")
        for left, top, px, py in places[::stride]
    ]
    if len(places) == 1:
        left, top, *_ = places[0]
        return tag("g", tag("circle", cx=left, cy=top, r=3.0, class_=f"dot look{line.look % LOOKS}"), *named)
    return tag("g", tag("polyline", points=path, class_=_class(line)), *named)


def _class(line: ChartLine) -> str:
    return f"line look{line.look % LOOKS}" + (" dashed" if line.dashed else "")


def _across(moment: Moment, x: Scale) -> Html:
    at = x.at(moment.x)
    stroke = tag("line", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, class_="moment")
    return tag("g", stroke, tag("title", moment.name))


def _said(lines: Sequence[ChartLine]) -> str:
    """Return in words where each line begins and ends."""
    ends = [(line.name, line.finite) for line in lines if line.finite]
    return "; ".join(f"{name} from {points[0][1]:.4g} to {points[-1][1]:.4g}".strip() for name, points in ends)

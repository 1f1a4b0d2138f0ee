"""Scatter charts: rows as points, each class with a colour and a form of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from reuse.reports.axes import LOOKS, Scale, picture
from reuse.reports.markup import Html, tag

FORMS = (
    "M-3,0a3,3 0 1 0 6,0a3,3 0 1 0 -6,0z",  # a disc
    "M-3.2,2.6L0,-3.4L3.2,2.6z",  # a triangle
    "M-2.6,-2.6H2.6V2.6H-2.6z",  # a square
    "M0,-3.8L3.8,0L0,3.8L-3.8,0z",  # a diamond
    "M-3,-1H-1V-3H1V-1H3V1H1V3H-1V1H-3z",  # a cross
)
SIDE, MARGIN = 340.0, 8.0


@dataclass(frozen=True)
class Points:
    """Points of one class.

    Attributes:
        name: of the class; empty: there are none.
        places: `(x, y)` of each.
        titles: what each says of itself.
    """

    name: str
    places: tuple[tuple[float, float], ...]
    titles: tuple[str, ...]


def point_map(groups: Sequence[Points], name: str) -> Html:
    """Return points on a map whose axes mean nothing by themselves: one scale for both.

    Args:
        groups: the points, class by class.
        name: what they are, for those who cannot see it.
    """
    across = [x for group in groups for x, _ in group.places]
    up = [y for group in groups for _, y in group.places]
    half = max(max(across) - min(across), max(up) - min(up), 1e-12) / 2
    middle = ((max(across) + min(across)) / 2, (max(up) + min(up)) / 2)
    x = Scale(middle[0] - half, middle[0] + half, MARGIN, SIDE - MARGIN)
    y = Scale(middle[1] - half, middle[1] + half, SIDE - MARGIN, MARGIN)
    return picture(*marks(groups, x, y), name=name, width=SIDE, height=SIDE, class_="chart map")


def marks(groups: Sequence[Points], x: Scale, y: Scale) -> list[Html]:
    """Return the marks of points."""
    return [tag("g", *_placed(group, number, x, y), class_=_class(number)) for number, group in enumerate(groups)]


def point_legend(groups: Sequence[Points]) -> Html:
    """Return which mark is of which class."""
    return tag("p", *(_entry(group, number) for number, group in enumerate(groups)), class_="legend")


def _entry(group: Points, number: int) -> Html:
    mark = tag("path", d=FORMS[number % len(FORMS)], class_=_class(number))
    return tag("span", tag("svg", mark, viewBox="-5 -5 10 10", class_="swatch round", aria_hidden="true"), group.name)


def _placed(group: Points, number: int, x: Scale, y: Scale) -> list[Html]:
    form = FORMS[number % len(FORMS)]
    return [
        tag("path", tag("title", title), d=form, transform=f"translate({x.at(px):.1f} {y.at(py):.1f})")
        for (px, py), title in zip(group.places, group.titles, strict=True)
    ]


def _class(number: int) -> str:
    return f"dot look{number % LOOKS}"

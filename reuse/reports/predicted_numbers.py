"""Predicted numbers beside true ones."""

import numpy as np

from reuse.reports.axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, chart
from reuse.reports.markup import Html, figure, figures, joined, note, tag
from reuse.reports.outcome import Outcome
from reuse.reports.points import Points, marks

MOST_POINTS = 1000


def numbers_beside(outcome: Outcome) -> Html:
    """Return predicted numbers beside true ones, of each output."""
    stride = -(-len(outcome.numbers) // MOST_POINTS)
    some = slice(None, None, stride)
    several = outcome.targets.shape[1] > 1
    charts = [
        _scatter(true, predicted, outcome.names[some], f"predicted, output {number}" if several else "predicted")
        for number, (true, predicted) in enumerate(zip(outcome.targets[some].T, outcome.values[some].T, strict=True), 1)
    ]
    every = note(f"One of every {stride} rows is drawn.") if stride > 1 else None
    return joined([figures(*charts), note("On the line, what is predicted is true."), every])


def _scatter(true: np.ndarray, predicted: np.ndarray, names: list[str], title: str) -> Html:
    both = [*true.tolist(), *predicted.tolist()]
    x, y = Scale.over(both, LEFT, WIDTH - RIGHT), Scale.over(both, HEIGHT - BOTTOM, TOP)
    titles = tuple(
        f"{name}: {p:.5g}, true {t:.5g}" for name, t, p in zip(names, true.tolist(), predicted.tolist(), strict=True)
    )
    points = Points("", tuple(zip(true.tolist(), predicted.tolist(), strict=True)), titles)
    line = tag("line", x1=x.at(x.low), x2=x.at(x.high), y1=y.at(y.low), y2=y.at(y.high), class_="ideal")
    drawn = chart(x, y, line, *marks([points], x, y), name=f"{title}, beside the true numbers", below="true")
    return figure(tag("strong", title), drawn)

"""Bar charts: how many numbers lie where."""

from collections.abc import Sequence

import numpy as np

from reuse.reports.axes import BOTTOM, HEIGHT, Scale, chart, short
from reuse.reports.markup import Html, figure, tag

BINS = 41  # an odd number, so that one bin has 0 in its middle


def histogram(title: object, values: np.ndarray, *, name: str, class_: str = "bar") -> Html:
    """Return how often the finite ones of some numbers lie in each of equal parts of their range around 0.

    Args:
        title: over the chart.
        values: of any shape.
        name: what they are, for those who cannot see it.
        class_: of the bars.
    """
    finite = values[np.isfinite(values)].astype(np.float64).ravel()
    reach = float(np.abs(finite).max()) if len(finite) else 0.0
    counts, edges = np.histogram(finite, BINS, (-(reach or 1.0), reach or 1.0))
    x, y = Scale.along([float(edges[0]), float(edges[-1])]), Scale.up([0.0, float(max(counts.max(), 1))])
    bars = bars_of(counts.tolist(), edges.tolist(), x, y, class_)
    return figure(title, chart(x, y, *bars, name=f"{name}: {len(finite):,} numbers up to {reach:.3g} from 0"))


def bars_of(heights: Sequence[float], edges: Sequence[float], x: Scale, y: Scale, class_: str) -> list[Html]:
    """Return a bar for each height above 0, between two edges."""
    floor = min(HEIGHT - BOTTOM, y.at(0.0))
    return [
        tag(
            "rect",
            tag("title", f"{short(left)} to {short(right)}: {height:.4g}"),
            x=x.at(left) + 0.5,
            y=y.at(height),
            width=max(x.at(right) - x.at(left) - 1.0, 1.0),
            height=floor - y.at(height),
            class_=class_,
        )
        for height, left, right in zip(heights, edges, edges[1:], strict=False)
        if height > 0
    ]

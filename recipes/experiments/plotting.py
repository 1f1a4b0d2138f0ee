"""Paired differences with their 95 % intervals as a picture."""

from collections.abc import Mapping
from pathlib import Path

Interval = tuple[float, float, float]
"""A mean, and the ends of its interval."""


def plot_differences(panels: Mapping[str, Mapping[str, Interval]], path: Path, unit: str = "points") -> None:
    """Draw a panel for each case: a line for each way, its mean difference and interval, and where 0 is.

    Args:
        panels: by title; intervals by the name of the way.
        path: of the picture.
        unit: of the differences.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # a second to import, and only plots need it
    from matplotlib.figure import Figure

    tallest = max(len(intervals) for intervals in panels.values())
    figure = Figure((4 * len(panels), 1 + 0.3 * tallest), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, intervals) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for place, (mean, low, high) in enumerate(intervals.values()):
            axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color="C0" if low > 0 else "0.5")
        axes.axvline(0, color="0.7", linewidth=1)
        axes.set_yticks(range(len(intervals)), list(intervals))
        axes.invert_yaxis()
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel(unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)

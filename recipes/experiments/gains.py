"""What methods of pretraining gain over the best of four ways without, case by case."""

from collections.abc import Iterable, Iterator
from itertools import product

from reuse.recipes.experiments.comparing import compare_pairs
from reuse.recipes.experiments.experiment import FigureColumn
from reuse.recipes.experiments.few_labels import ALWAYS, SCRATCH
from reuse.recipes.experiments.plotting import Interval
from reuse.recipes.experiments.recording import Record

from reuse.intervals import mean_and_error, paired_interval

FEW_LABEL_COLUMNS = (
    FigureColumn("frozen", "test accuracy, frozen, % (± 95 %)", 100, interval=True),
    FigureColumn("unfrozen", "test accuracy, everything trained, % (± 95 %)", 100, interval=True),
    FigureColumn("minutes", "processor minutes of pretraining", digits=1),
)


def compared(record: Record, cases: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield each case, the best of its ways without pretraining, a method of as many draws, one of its two figures.

    Args:
        record: of rows that are called by their case and their way.
        cases: what names of rows begin with.
    """
    for case in cases:
        if not all(record.values(case + way, figure_of(way)) for way in ALWAYS):
            continue
        best = max(ALWAYS, key=lambda way: mean_and_error(record.values(case + way, figure_of(way)))[0])
        found = dict.fromkeys(run["row"].removeprefix(case) for run in record.runs if run["row"].startswith(case))
        for method, figure in product([way for way in found if way not in ALWAYS], ("frozen", "unfrozen")):
            if len(record.values(case + method, figure)) == len(record.values(case + best, figure_of(best))):
                yield case, best, method, figure


def figure_of(way: str) -> str:
    """Return the one figure of a way without pretraining."""
    return "unfrozen" if way == SCRATCH else "frozen"


def gains(record: Record, cases: Iterable[str]) -> dict[str, dict[str, Interval]]:
    """Return the gain of each method over the best without pretraining, with its interval, in points, by case."""
    panels: dict[str, dict[str, Interval]] = {}
    for case, best, method, figure in compared(record, cases):
        mean, low, high = paired_interval(*_pairs(record, case, best, method, figure))
        panels.setdefault(f"{case}over {best}", {})[f"{method}, {figure}"] = 100 * mean, 100 * low, 100 * high
    return panels


def _pairs(record: Record, case: str, best: str, method: str, figure: str) -> tuple[list[float], list[float]]:
    return record.values(case + best, figure_of(best)), record.values(case + method, figure)


def conclude_gains(record: Record, cases: Iterable[str]) -> list[str]:
    """Say of each method whether it gains over the best of the four ways without pretraining."""
    return [
        compare_pairs(record, case + method, case + best, figure, other_figure=figure_of(best))
        for case, best, method, figure in compared(record, cases)
    ]

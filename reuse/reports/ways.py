"""The same training in other ways, from scratch and unfrozen, where a run was compared with these."""

from collections.abc import Mapping
from typing import Any

from reuse.reports.markup import Html, joined, table, tag
from reuse.reports.record import RunRecord
from reuse.runs.results import WAYS, with_intervals

TOLD = {"gain": "gain over scratch"}


def ways_table(record: RunRecord) -> Html | None:
    """Return what each way came to, with intervals where labels were drawn several times; None without a comparison."""
    told: Mapping[str, Mapping[str, float]] = record.told("comparison") or {}
    if not told:
        return None
    rows = {way: with_intervals(row) for way, row in told.items()}
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [[WAYS.get(way, way), *(_cell(row.get(name)) for name in names)] for way, row in rows.items()]
    draws = next(iter(told.values())).get("draws")
    means = f", means over {draws:.0f} draws of the labels ± 95 %" if draws else ""
    heading = tag("h4", f"The same training otherwise, on the test rows{means}")
    return joined([heading, table(["layers", *(TOLD.get(name, name) for name in names)], cells, caption="Comparison")])


def _cell(value: Any) -> str | None:
    return f"{value:.4g}" if isinstance(value, float) else None if value is None else str(value)

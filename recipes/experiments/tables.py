"""From records to Markdown: published, reference and our figures side by side. Nothing is typed by hand."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reuse.errors import RunError
from reuse.intervals import half_interval, mean_and_error
from reuse.units import format_count

REFERENCE = ".keras.json"
HEAD = (
    "# Results\n\nMade by `python -m reuse.recipes.experiments` from `results/*.json`, which the recipes and "
    "`tests/benchmarks/keras_reference` write; do not edit. Means over seeds ± one standard error, or half the 95 % "
    "interval where a title says so; the difference is ours minus Keras', in standard errors of that difference. "
    "Seconds are the median over the seeds of a whole training with validation, in one thread of a machine shared with "
    "others.\n"
)


def render_results(folder: str | Path) -> str:
    """Return the whole page.

    Args:
        folder: of the records, `NAME.json` of a recipe and `NAME.keras.json` of its reference.

    Raises:
        RunError: there are none, or one cannot be read.
    """
    paths = [path for path in sorted(Path(folder).glob("*.json")) if not path.name.endswith(REFERENCE)]
    if not paths:
        raise RunError(f"{folder} holds no records of experiments: run a recipe first")
    return "\n".join([HEAD, *(render_record(path) for path in paths)])


def render_record(path: Path) -> str:
    """Return the section of one experiment: a table for each figure that is compared, one for all others."""
    ours = _read(path)
    beside = path.with_name(path.stem + REFERENCE)
    reference = _read(beside) if beside.exists() else None
    cells = {column["title"]: _cells(column, ours, reference) for column in ours["columns"]}
    plain = {title: found["ours"] for title, found in cells.items() if list(found) == ["ours"]}
    lines = [f"## {ours['title']}", "", ours["about"], ""]
    for title, found in cells.items():
        if title not in plain:
            lines += _table(title, list(ours["rows"]), found)
    if plain:
        lines += _table("", list(ours["rows"]), plain)
    lines += [f"- {conclusion}" for conclusion in ours["conclusions"]] + ([""] if ours["conclusions"] else [])
    return "\n".join([*lines, *(_origin(record) for record in (ours, reference) if record), ""])


def _table(title: str, rows: Sequence[str], columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a Markdown table of the rows in which anything stands."""
    filled = [(row, cells) for row, *cells in zip(rows, *columns.values(), strict=True) if any(cells)]
    return [
        _line([title, *columns]),
        _line(["---", *["---:"] * len(columns)]),
        *(_line([row, *cells]) for row, cells in filled),
        "",
    ]


def _cells(column: dict[str, Any], ours: dict[str, Any], reference: dict[str, Any] | None) -> dict[str, list[str]]:
    """Return a figure's cells, one a row, under `published`, `Keras`, `ours` and `difference`, where there are any."""
    figure, rows = column["figure"], list(ours["rows"])
    theirs = [_scaled(reference, row, column["reference"] or figure, column["scale"]) for row in rows]
    mine = [_scaled(ours, row, figure, column["scale"]) for row in rows]
    show = _seconds if figure == "seconds" else partial(_mean, interval=column.get("interval", False))
    cells = {
        "published": [ours["published"].get(row, {}).get(figure, "") for row in rows],
        "Keras": [show(values, column["digits"]) for values in theirs],
        "ours": [show(values, column["digits"]) for values in mine],
        "difference": [_difference(a, b) if figure != "seconds" else "" for a, b in zip(mine, theirs, strict=True)],
    }
    return {title: values for title, values in cells.items() if any(values)}


def _scaled(record: dict[str, Any] | None, row: str, figure: str, scale: float) -> list[float]:
    return [] if record is None else [value * scale for value in _values(record, row, figure)]


def _values(record: dict[str, Any], row: str, figure: str) -> list[float]:
    return [run[figure] for run in record["runs"] if run["row"] == row and figure in run]


def _mean(values: Sequence[float], digits: int, interval: bool) -> str:
    if not values:
        return ""
    mean, error = mean_and_error(values)
    error = half_interval(values) if interval else error
    return f"{mean:.{digits}f}" if math.isnan(error) else f"{mean:.{digits}f} ± {error:.{digits}f}"


def _seconds(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f}" if values else ""


def _difference(mine: Sequence[float], theirs: Sequence[float]) -> str:
    """Return how many standard errors of the difference ours lies above theirs."""
    if len(mine) < 2 or len(theirs) < 2:
        return ""
    (mean, error), (other, other_error) = mean_and_error(mine), mean_and_error(theirs)
    spread = math.hypot(error, other_error)
    if spread == 0:
        return "0" if math.isclose(mean, other, rel_tol=1e-5) else "∞"  # records are rounded
    return f"{(mean - other) / spread:+.1f}"


def _origin(record: dict[str, Any]) -> str:
    """Return date, machine and command of a record."""
    dates = sorted({run["date"] for run in record["runs"]})
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    seeds = len({run["seed"] for run in record["runs"]})
    machines = "; ".join(", ".join(f"{name} {value}" for name, value in one.items()) for one in record["machines"])
    return f"{record['by']}: {when}, {format_count(seeds, 'seed')}, `{record['command']}`; {machines}.\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is no record of an experiment ({error}): remove it") from error
    if not record.get("runs"):
        raise RunError(f"{path} holds no runs: run the recipe again, or remove it")
    return record


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

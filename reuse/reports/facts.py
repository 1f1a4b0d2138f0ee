"""The facts of a run: what was trained on what, and what it came to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from reuse.reports.markup import Html, folded, joined, note, table, tag, unbroken
from reuse.reports.outcome import SPLIT_WORDS
from reuse.reports.record import RunRecord
from reuse.reports.row_intervals import Interval
from reuse.reports.scores import scorer_of
from reuse.reports.subject import Section, Subject, absent
from reuse.reports.ways import ways_table
from reuse.units import format_seconds

MOST_RANKED = 20  # settings of a sweep
SHORT = 7  # characters of a score that stands large
ROUNDING = 1e-3  # by which a score may differ from the one that was recorded, on another device say


def facts_section(subject: Subject) -> Section:
    """Return the headline facts."""
    record = subject.record
    parts: list[Html | None] = [
        _tiles(subject),
        _table_of_splits(subject),
        _list(record),
        ways_table(record),
        _ranking(record),
    ]
    if subject.outcome is not None and subject.outcome.counts:
        parts.append(folded("Classes of each split", _class_table(subject.outcome.counts)))
    if notes := record.told("notes"):
        parts.append(folded("Notes of the run", tag("ul", *(tag("li", line) for line in notes))))
    parts.append(folded("All settings", _settings(record)))
    return Section("Facts", joined(parts))


def _tiles(subject: Subject) -> Html:
    """Return the scores, large, with their intervals."""
    outcome, record = subject.outcome, subject.record
    if outcome is None:
        why = subject.no_outcome
        return absent("Scores are those that the run recorded, without intervals", why)
    scores, intervals = scorer_of(outcome)(np.arange(len(outcome.numbers))), subject.intervals
    where = f"{len(outcome.numbers):,} {SPLIT_WORDS[outcome.split]} rows of {outcome.data}"
    tiles = tag("div", *(_tile(name, value, intervals[name]) for name, value in scores.items()), class_="tiles")
    said = note(f"Computed anew on {where}. The ranges are 95 % intervals.")
    return joined([tiles, said, *_differences(record, outcome.split, scores, subject)])


def _tile(name: str, value: float, interval: Interval) -> Html:
    ends = f"{_number(interval.low)} to {_number(interval.high)}"
    return tag(
        "div",
        tag("span", name, class_="name"),
        tag("span", _number(value), class_="value" if len(_number(value)) <= SHORT else "value long"),
        tag("span", ends, class_="range"),
    )


def _differences(record: RunRecord, split: str, scores: Mapping[str, float], subject: Subject) -> Iterable[Html]:
    """Yield a line where the run recorded other scores for the same rows."""
    recorded = record.metrics.get(split, {}) if subject.arguments.data is None else {}
    for name, value in scores.items():
        before = recorded.get(name)
        if before is not None and abs(value - before) > ROUNDING * max(abs(value), abs(before), ROUNDING):
            yield note(
                f"The run recorded {name} {_number(before)} for these rows: the data or the code have changed since."
            )


def _table_of_splits(subject: Subject) -> Html | None:
    record = subject.record
    names = list(dict.fromkeys(name for measured in record.metrics.values() for name in measured))
    splits = list(dict.fromkeys([*record.sizes, *record.metrics]))
    if not splits:
        return None
    rows = [[SPLIT_WORDS[split], f"{record.sizes.get(split, 0):,}", *_scores(record, split, names)] for split in splits]
    return table(["split", "rows", *names], rows, caption="Scores that the run recorded, by split")


def _scores(record: RunRecord, split: str, names: Sequence[str]) -> list[str | None]:
    measured = record.metrics.get(split, {})
    return [_cell(measured.get(name)) for name in names]


def _list(record: RunRecord) -> Html:
    entries = [(name, value) for name, value in _entries(record) if value]
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in entries))


def _entries(record: RunRecord) -> Iterable[tuple[str, str]]:
    manifest = record.manifest
    yield "model", manifest.model.spec if manifest.model else ""
    yield "data", manifest.data
    yield "learned", _learned(record)
    yield "layers from", manifest.source or ""
    yield "restored", ", ".join(manifest.restored)
    yield "fresh", ", ".join(manifest.fresh)
    for phase in manifest.phases:
        since = f" from epoch {phase.epoch}" if len(manifest.phases) > 1 else ""
        yield f"frozen{since}", ", ".join(phase.frozen) or "nothing"
    yield "soup of", ", ".join(manifest.ingredients)
    yield "epochs", _epochs(record)
    yield "time", _time(record)
    yield "began", manifest.created.partition(".")[0].replace("T", " ")
    yield "folder", str(record.folder.path)


def _learned(record: RunRecord) -> str:
    manifest = record.manifest
    kind, count = "labels" if manifest.task == "multilabel" else "classes", len(manifest.classes)
    return (manifest.task or manifest.objective or "") + (f", {count} {kind}" if count else "")


def _epochs(record: RunRecord) -> str:
    if record.result is None:
        return f"{record.epochs} so far; the run is not finished"
    kept = f", weights of epoch {record.best_epoch}" if record.best_epoch else ""
    return f"{record.epochs}{kept}" if record.epochs else ""


def _time(record: RunRecord) -> Html:
    seconds: Mapping[str, float] = record.told("seconds") or {}
    parts = [unbroken(f"{name} {format_seconds(value)}") for name, value in seconds.items() if value]
    return Html(", ".join(parts))


def _ranking(record: RunRecord) -> Html | None:
    """Return the best settings of a sweep."""
    rows: Sequence[Mapping[str, Any]] = (record.told("table") or ())[:MOST_RANKED]
    if not rows:
        return None
    columns = [name for name in rows[0] if any(row.get(name) is not None for row in rows)]
    cells = [[place, *(_said(row.get(name)) for name in columns)] for place, row in enumerate(rows, 1)]
    return joined([tag("h4", "The best settings"), table(["rank", *columns], cells, caption="The best settings")])


def _said(value: Any) -> str | None:
    return _cell(value) if isinstance(value, float | None) else str(value)


def _class_table(counts: Mapping[str, Mapping[str, int]]) -> Html:
    classes = list(dict.fromkeys(name for some in counts.values() for name in some))
    rows = [[name, *(f"{counts[split].get(name, 0):,}" for split in counts)] for name in classes]
    return table(["class", *(SPLIT_WORDS[split] for split in counts)], rows, caption="Rows of each class, by split")


def _settings(record: RunRecord) -> Html:
    rows = [[name, str(value)] for name, value in record.settings.items() if value not in (None, "", [])]
    return table(["setting", "value"], rows, caption="Settings")


def _number(value: float) -> str:
    return f"{value:.3f}" if 0.01 <= abs(value) < 10 or value == 0 else f"{value:.4g}"


def _cell(value: float | str | None) -> str | None:
    return f"{value:.4g}" if isinstance(value, int | float) else value

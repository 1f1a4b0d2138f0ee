"""Several runs side by side: what they came to, and how sure the differences are, on the same rows."""

from collections.abc import Iterable, Sequence

import numpy as np

from reuse.reports.curves import LOSS, curve, metric_names
from reuse.reports.intervals import Interval, bootstrap_intervals, mcnemar_probability
from reuse.reports.lines import Curve, line_chart
from reuse.reports.markup import Html, figures, joined, note, table, tag
from reuse.reports.outcome import Outcome
from reuse.reports.record import RunRecord
from reuse.reports.scores import scorer_of
from reuse.reports.subject import Section, Subject
from reuse.units import format_seconds


def comparing_section(subjects: Sequence[Subject]) -> Section:
    """Return the runs beside each other; differences are counted from the first one."""
    records = [subject.record for subject in subjects]
    first, *others = subjects
    parts = [_table(records), tag("h4", f"Differences from {first.record.name}, on the same rows")]
    parts += [line for other in others for line in _difference(first, other)]
    return Section("Side by side", joined([*parts, tag("h4", "Curves"), *_curves(records)]))


def refuse_to_compare(first: Outcome, second: Outcome) -> str:
    """Return why two runs cannot be compared row by row; empty where they can."""
    for what in ("task", "data", "classes", "split"):
        one, two = getattr(first, what), getattr(second, what)
        if one != two:
            said = (", ".join(one), ", ".join(two)) if isinstance(one, tuple) else (one, two)
            return f"they differ in {what}: {said[0]}, and {said[1]}"
    left, right = common_places(first, second)
    if not len(left):
        return f"no row is in the {first.split} split of both"
    if not np.array_equal(first.targets[left], second.targets[right]):
        return "their data give the same rows other targets"
    return ""


def common_places(first: Outcome, second: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Return where the rows that both have are in each, in one order."""
    _, left, right = np.intersect1d(first.numbers, second.numbers, return_indices=True)
    return left, right


def paired_differences(first: Outcome, second: Outcome) -> dict[str, tuple[float, float, float, Interval]]:
    """Return for each score that of both runs on their common rows, the second less the first, and its interval.

    Both are scored on the same drawn rows (a paired bootstrap), so that what is hard for both falls out.
    """
    left, right = common_places(first, second)
    one, two = scorer_of(first), scorer_of(second)

    def difference(places: np.ndarray) -> dict[str, float]:
        before, after = one(left[places]), two(right[places])
        return {name: after[name] - before[name] for name in before}

    intervals, before, after = bootstrap_intervals(difference, len(left)), one(left), two(right)
    return {name: (before[name], after[name], after[name] - before[name], intervals[name]) for name in before}


def _difference(first: Subject, other: Subject) -> Iterable[Html]:
    name = other.record.name
    missing = next((subject for subject in (first, other) if subject.outcome is None), None)
    if first.outcome is None or other.outcome is None:
        assert missing is not None
        yield note(f"{name} is not compared row by row: {missing.no_outcome}.")
        return
    if why_not := refuse_to_compare(first.outcome, other.outcome):
        yield note(f"{name} is not compared row by row: {why_not}.")
        return
    left, right = common_places(first.outcome, other.outcome)
    rows = [
        [
            score,
            f"{before:.4g}",
            f"{after:.4g}",
            f"{gap:+.4g}",
            f"{interval.low:+.4g} to {interval.high:+.4g}",
            "yes" if interval.excludes_zero else "no",
        ]
        for score, (before, after, gap, interval) in paired_differences(first.outcome, other.outcome).items()
    ]
    head = ["score", first.record.name, name, "difference", "95 % interval", "beyond chance"]
    yield table(head, rows, caption=f"{name} less {first.record.name}")
    yield note(
        f"{len(left):,} {first.outcome.split} rows; paired bootstrap. ",
        _disagreement(first.outcome, other.outcome, left, right),
    )


def _disagreement(first: Outcome, second: Outcome, left: np.ndarray, right: np.ndarray) -> str:
    """Return in words on which rows only one of two runs is right; empty for numbers."""
    if first.task == "regression":
        return ""
    one, two = first.right[left], second.right[right]
    chance = mcnemar_probability(one, two)
    gained, lost = int((two & ~one).sum()), int((one & ~two).sum())
    return (
        f"{gained:,} rows are right only in the second and {lost:,} only in the first "
        f"(McNemar's exact test: p = {chance:.3g})."
    )


def _table(records: Sequence[RunRecord]) -> Html:
    lines = [_facts(record) for record in records]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    rows = [[record.name, *(line.get(name) for name in columns)] for record, line in zip(records, lines, strict=True)]
    return table(["run", *columns], rows, caption="Runs side by side", class_="numbers words")


def _facts(record: RunRecord) -> dict[str, str]:
    manifest = record.manifest
    frozen = manifest.phases[0].frozen if manifest.phases else ()
    told = {
        "model": manifest.model.spec if manifest.model else "",
        "data": manifest.data,
        "frozen": ", ".join(frozen) or "nothing",
        "epochs": str(record.told("epochs") or len(record.history)),
        "training": format_seconds((record.told("seconds") or {}).get("train", 0.0)),
    }
    split = next((split for split in ("test", "valid") if split in record.metrics), "")
    return told | {f"{split} {name}": f"{value:.4g}" for name, value in record.metrics.get(split, {}).items()}


def _curves(records: Sequence[RunRecord]) -> Iterable[Html]:
    charts = []
    names = list(dict.fromkeys(name for record in records for name in metric_names(record)))
    for part, words, metrics in (("train", "training", (LOSS,)), ("valid", "validation", names)):
        for metric in metrics:
            lines = [curve(record, part, metric, record.name, look) for look, record in enumerate(records)]
            charts += _chart(f"{words} {metric}", [line for line in lines if line.finite])
    yield figures(*charts) if charts else note("No run has a history of epochs.")


def _chart(title: str, lines: list[Curve]) -> list[Html]:
    return [line_chart(title, lines, may_be_logarithmic=title.endswith(LOSS))] if lines else []

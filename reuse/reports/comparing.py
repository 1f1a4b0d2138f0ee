"""Several runs side by side: what they came to, and how sure the differences are, on the same rows."""

from collections.abc import Iterable, Mapping, Sequence

from reuse.reports.axes import LOOKS
from reuse.reports.curves import LOSS, curve, metric_names
from reuse.reports.lines import ChartLine, line_chart
from reuse.reports.markup import Html, figures, joined, note, table, tag
from reuse.reports.outcome import SPLIT_WORDS, Outcome
from reuse.reports.pairing import Difference, common_places, paired_differences, refuse_to_compare
from reuse.reports.record import RunRecord
from reuse.reports.row_intervals import Interval, mcnemar_probability
from reuse.reports.subject import Section, Subject
from reuse.units import format_seconds, verb_of

SUPERVISED = "supervised"  # the objective that is what its task is


def comparing_section(subjects: Sequence[Subject]) -> Section:
    """Return the runs beside each other; differences are counted from the first one."""
    records = [subject.record for subject in subjects]
    first, *others = subjects
    parts = [
        _table(subjects),
        *_told_intervals(subjects),
        *_told_objectives(records),
        tag("h4", f"Differences from {first.record.name}, on the same rows"),
    ]
    parts += [line for other in others for line in _difference(first, other)]
    return Section("Side by side", joined([*parts, tag("h4", "Curves"), *_curves(records)]))


def _difference(first: Subject, other: Subject) -> Iterable[Html]:
    """Yield how another run differs from the first one, or why it cannot be compared with it."""
    name, one, two = other.record.name, first.outcome, other.outcome
    why_not = first.no_outcome or other.no_outcome
    if one is None or two is None or (why_not := refuse_to_compare(one, two)):
        yield note(f"{name} is not compared row by row: {why_not}.")
        return
    head = ["score", first.record.name, name, "difference", "95 % interval", "beyond chance"]
    rows = [_row(difference) for difference in paired_differences(one, two)]
    yield table(head, rows, caption=f"{name} less {first.record.name}")
    counted = f"{len(common_places(one, two)[0]):,} {SPLIT_WORDS[one.split]} rows; paired bootstrap."
    yield note(f"{counted} {_disagreement(first.record.name, one, name, two)}".rstrip())


def _row(difference: Difference) -> list[str]:
    low, high = difference.interval.low, difference.interval.high
    scores = [f"{difference.first:.4g}", f"{difference.second:.4g}", f"{difference.gap:+.4g}"]
    return [
        difference.name,
        *scores,
        f"{low:+.4g} to {high:+.4g}",
        "yes" if difference.interval.excludes_zero else "no",
    ]


def _disagreement(first_name: str, first: Outcome, second_name: str, second: Outcome) -> str:
    """Return in words on which rows only one of two runs is right; empty for numbers."""
    if first.task == "regression":
        return ""
    left, right = common_places(first, second)
    one, two = first.right[left], second.right[right]
    gained, lost = int((two & ~one).sum()), int((one & ~two).sum())
    told = (
        f"{gained:,} {verb_of(gained, 'row is', 'rows are')} right only in {second_name} and {lost:,} only "
        f"in {first_name}"
    )
    return f"{told} (McNemar's exact test: p = {mcnemar_probability(one, two):.3g})."


def _table(subjects: Sequence[Subject]) -> Html:
    lines = [_scores(subject) | _facts(subject.record) for subject in subjects]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    rows = [
        [subject.record.name, *(line.get(name) for name in columns)]
        for subject, line in zip(subjects, lines, strict=True)
    ]
    return table(["run", *columns], rows, caption="Runs side by side", class_="numbers words")


def _told_intervals(subjects: Sequence[Subject]) -> Iterable[Html]:
    if any(_intervals(subject, _measured_split(subject.record)) for subject in subjects):
        yield note("Under each score its 95 % interval, over rows drawn again.")


def _facts(record: RunRecord) -> dict[str, object]:
    manifest = record.manifest
    return {
        "model": manifest.model.spec if manifest.model else "",
        "data": manifest.data,
        "epochs": str(record.epochs),
        "training": format_seconds((record.told("seconds") or {}).get("train", 0.0)),
        "frozen": tag("span", frozen_in_turn(record), class_="wrapping"),
    }


def frozen_in_turn(record: RunRecord) -> str:
    """Return in words what was frozen, and from which epoch on where that changed."""
    phases = record.phases
    told = [", ".join(phase.frozen) or "nothing" for phase in phases] or ["nothing"]
    later = [f"from epoch {phase.epoch} {words}" for phase, words in zip(phases[1:], told[1:], strict=True)]
    return "; ".join([told[0], *later])


def _scores(subject: Subject) -> dict[str, object]:
    """Return what a run recorded of the rows that it did not learn from, each score above its interval."""
    split = _measured_split(subject.record)
    intervals, measured = _intervals(subject, split), subject.record.metrics.get(split, {})
    told: dict[str, object] = {}
    for name, value in measured.items():
        if value is not None:
            own = intervals.get(name)
            under = None if own is None else tag("small", f"{own.low:.4g} to {own.high:.4g}")
            told[f"{split} {name}"] = joined([f"{value:.4g}", under])
    return told


def _measured_split(record: RunRecord) -> str:
    return next((split for split in ("test", "valid") if split in record.metrics), "")


def _intervals(subject: Subject, split: str) -> Mapping[str, Interval]:
    """Return intervals where they are of the rows that the run was measured on."""
    outcome = subject.outcome
    is_same = outcome is not None and outcome.split == split and subject.arguments.data is None
    return subject.intervals if is_same else {}


def _curves(records: Sequence[RunRecord]) -> Iterable[Html]:
    """Yield the curves over each other: one picture a metric, and one a loss for each thing that is minimised."""
    charts = []
    names = list(dict.fromkeys(name for record in records for name in metric_names(record)))
    minimised = list(dict.fromkeys(map(_objective, records)))
    for part, words, metrics in (("train", "training", (LOSS,)), ("valid", "validation", names)):
        for metric in metrics:
            lines = [
                curve(record, part, metric, record.name, look, dashed=look >= LOOKS)
                for look, record in enumerate(records)
            ]
            if metric != LOSS or len(minimised) == 1:
                charts += _chart(f"{words} {metric}", lines, is_loss=metric == LOSS)
                continue
            for objective in minimised:
                alike = [line for record, line in zip(records, lines, strict=True) if _objective(record) == objective]
                charts += _chart(f"{words} loss of {objective}", alike, is_loss=True)
    yield figures(*charts) if charts else note("No run has a history of epochs.")


def _objective(record: RunRecord) -> str:
    """Return in a word what a run minimised: the name of its objective, or of its task where it learned from labels."""
    named = record.manifest.objective
    return named if named not in (None, SUPERVISED) else record.manifest.task or "labels"


def _told_objectives(records: Sequence[RunRecord]) -> Iterable[Html]:
    minimised = list(dict.fromkeys(map(_objective, records)))
    if len(minimised) > 1:
        yield note(f"Losses of different objectives ({', '.join(minimised)}) cannot be compared with each other.")


def _chart(title: str, lines: Sequence[ChartLine], *, is_loss: bool) -> list[Html]:
    finite = [line for line in lines if line.finite]
    return [line_chart(title, finite, may_be_logarithmic=is_loss)] if finite else []

"""The curves of a training: losses and metrics, the learning rate, and the gradients where they were watched."""

from collections.abc import Iterable, Sequence

from reuse.reports.gradients import gradient_chart, is_watched
from reuse.reports.lines import ChartLine, Moment, line_chart
from reuse.reports.markup import Html, figures, folded, joined, note, table
from reuse.reports.record import RunRecord
from reuse.reports.spacing import spread
from reuse.reports.subject import Section, Subject, empty_section
from reuse.runs.manifest import PhaseRecord

LOSS, ALONE = "loss", "eval_"
MOST_ROWS = 200  # of the table
TRAINED, MEASURED, VALIDATED = "training, as it moved", "training, without dropout", "validation"


def curves_section(subject: Subject) -> Section:
    """Return what happened from epoch to epoch."""
    record = subject.record
    if not any("train" in line for line in record.history):  # a sweep tells of its heads
        return empty_section("Curves", "the run has no history of epochs")
    moments = moments_of(record)
    charts = [line_chart(name, lines, moments=moments, may_be_logarithmic=name == LOSS) for name, lines in _all(record)]
    charts += [chart for chart in (_rate_chart(record, moments), gradient_chart(record, moments)) if chart]
    lines = [note(line) for line in _told(record, moments)]
    return Section("Curves", joined([figures(*charts), *lines, folded("The numbers", _table(record))]))


def curve(record: RunRecord, part: str, metric: str, name: str, look: int, *, dashed: bool = False) -> ChartLine:
    """Return a metric of the training or validation rows from epoch to epoch.

    Args:
        record: of the run.
        part: `train` or `valid`.
        metric: its name in the history.
        name: what the line is called.
        look: number of its colour.
        dashed: whether it is broken.
    """
    found = [(line["epoch"], line.get(part, {}).get(metric)) for line in record.history]
    return ChartLine(name, tuple((epoch, value) for epoch, value in found if value is not None), look, dashed)


def metric_names(record: RunRecord) -> list[str]:
    """Return the names of what was measured from epoch to epoch, `loss` first."""
    names = [name for line in record.history for part in ("train", "valid") for name in line.get(part, {})]
    return list(dict.fromkeys([LOSS, *(name.removeprefix(ALONE) for name in names)]))


def moments_of(record: RunRecord) -> list[Moment]:
    """Return when other layers began to train or rest, and which epoch was kept."""
    stages = [Moment(phase.epoch, _begins(phase)) for phase in record.phases[1:]]
    kept = record.best_epoch
    return [*stages, *([Moment(kept, f"the weights of epoch {kept} were kept")] if kept else [])]


def _begins(phase: PhaseRecord) -> str:
    if phase.stage:
        return f"from epoch {phase.epoch} on stage {phase.stage} trains"
    count = len(phase.frozen)
    return f"from epoch {phase.epoch} on {', '.join(phase.frozen) or 'nothing'} {'are' if count > 1 else 'is'} frozen"


def _told(record: RunRecord, moments: Sequence[Moment]) -> Iterable[str]:
    """Yield what the dotted lines are, and what was not recorded."""
    if moments:
        yield f"Dotted lines: {'; '.join(moment.name for moment in moments)}."
    if not any(name.startswith(ALONE) for line in record.history for name in line.get("train", {})):
        yield "The training loss is that of the weights as they moved; --train-metrics measures it without dropout too."
    if not is_watched(record):
        yield "Gradients were not recorded: --watch does."


def _all(record: RunRecord) -> Iterable[tuple[str, list[ChartLine]]]:
    for name in metric_names(record):
        lines = [
            curve(record, "train", name, TRAINED, 0),
            curve(record, "train", ALONE + name, MEASURED, 0, dashed=True),
            curve(record, "valid", name, VALIDATED, 1),
        ]
        if drawn := [line for line in lines if line.finite]:
            yield name, drawn


def _rate_chart(record: RunRecord, moments: Sequence[Moment]) -> Html | None:
    found = [(line["epoch"], line.get("learning_rate")) for line in record.history]
    rate = ChartLine("", tuple((epoch, value) for epoch, value in found if value is not None), 2)
    return line_chart("learning rate", [rate], moments=moments, may_be_logarithmic=True) if rate.finite else None


def _table(record: RunRecord) -> Html:
    lines = [record.history[place] for place in spread(len(record.history), MOST_ROWS)]
    measured = [(part, name) for line in lines for part in ("train", "valid") for name in line.get(part, {})]
    columns = list(dict.fromkeys(measured))
    rows = [
        [
            line["epoch"],
            *(_cell(line.get(part, {}).get(name)) for part, name in columns),
            _cell(line.get("learning_rate")),
        ]
        for line in lines
    ]
    some = "" if len(lines) == len(record.history) else f", {len(lines)} of {len(record.history)}"
    return table(["epoch", *(f"{part} {name}" for part, name in columns), "rate"], rows, caption=f"Epochs{some}")


def _cell(value: float | None) -> str | None:
    return None if value is None else f"{value:.5g}"

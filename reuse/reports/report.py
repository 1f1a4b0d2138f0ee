"""`report`: one page on a run, or on several side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path

from reuse.errors import UsageError
from reuse.inference.selecting import check_split
from reuse.reports.calibration import calibration_section
from reuse.reports.classes import classes_section
from reuse.reports.comparing import comparing_section
from reuse.reports.curves import curves_section
from reuse.reports.drawing import network_section
from reuse.reports.facts import facts_section
from reuse.reports.feature_map import map_section
from reuse.reports.markup import joined
from reuse.reports.mistakes import mistakes_section
from reuse.reports.page import Chapter, page
from reuse.reports.record import RunRecord, short_names
from reuse.reports.subject import Section, Subject, absent, read_subject
from reuse.reports.weights import weights_section
from reuse.seeding import untouched_random_state
from reuse.settings.calling import takes
from reuse.settings.uses import ReportArguments

SECTIONS: tuple[Callable[[Subject], Section], ...] = (
    facts_section,
    curves_section,
    classes_section,
    mistakes_section,
    calibration_section,
    network_section,
    weights_section,
    map_section,
)


@takes(ReportArguments)
def report(arguments: ReportArguments) -> Path:
    """Write a report on trained runs: one HTML file that holds all it shows.

    What a run folder tells is shown in any case; predictions are made anew where the data can be reached, and what is
    lacking is said in the page.

    Returns:
        The file.

    Raises:
        UsageError: no run, a file that cannot be written, or a split or metric that there is not.
        RunError: a run is missing, damaged or of another version.

    Example:
        >>> report(["runs/frozen", "runs/unfrozen"], out="report.html")  # doctest: +SKIP
    """
    runs = [arguments.runs] if isinstance(arguments.runs, str | Path) else list(arguments.runs)
    if not runs:
        raise UsageError("a report needs a run: name run folders")
    check_split(arguments.split)
    if not Path(arguments.out).absolute().parent.is_dir():
        raise UsageError(f"{arguments.out} is in a folder that there is not: make it, or give another out")
    names = short_names(runs)
    records = [RunRecord.read(path, name) for path, name in zip(runs, names, strict=True)]
    with untouched_random_state():  # models that are built draw weights
        written = _written([_read(record, arguments) for record in records])
    out = Path(arguments.out)
    try:
        out.write_text(written, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}; give another out") from error
    return out


def _read(record: RunRecord, arguments: ReportArguments) -> Subject:
    if arguments.reporter is not None:
        arguments.reporter.line(f"looking at {record.folder.path}")
    return read_subject(record, arguments)


def _written(subjects: Sequence[Subject]) -> str:
    chapters = [Chapter(subject.record.name, _lede(subject.record), _sections(subject)) for subject in subjects]
    if len(subjects) == 1:
        (chapter,) = chapters
        return page(chapter.title, chapter.lede, [Chapter(chapter.title, "", chapter.sections)])
    compared = Chapter("Comparison", "", (comparing_section(subjects),))
    return page(f"{len(subjects)} runs", ", ".join(chapter.title for chapter in chapters), [compared, *chapters])


def _sections(subject: Subject) -> tuple[Section, ...]:
    """Return what there is to show; what there is not is said in a last section."""
    sections = [section(subject) for section in SECTIONS]
    reasons = dict.fromkeys(section.lacks for section in sections if section.lacks)
    titles = {why: ", ".join(section.title for section in sections if section.lacks == why) for why in reasons}
    shown = [section for section in sections if not section.lacks]
    lacking = [absent(title, why) for why, title in titles.items()]
    return (*shown, Section("Not shown", joined(lacking))) if lacking else tuple(shown)


def _lede(record: RunRecord) -> str:
    manifest = record.manifest
    model = manifest.model.spec if manifest.model else "heads"
    done = {"pretrain": "pretrained", "finetune": "fine-tuned", "sweep": "swept", "soup": "averaged"}
    objective = f" ({manifest.objective})" if manifest.objective else ""
    origin = f" from {manifest.source}" if manifest.source else objective
    return f"{model}, {done.get(manifest.kind, manifest.kind)}{origin} on {manifest.data}"

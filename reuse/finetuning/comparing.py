"""The comparison of a fine-tuning: the same from scratch and with nothing frozen, over several draws of the labels."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reuse.distributed import from_main
from reuse.intervals import half_interval, mean_and_error, paired_interval
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.runs.results import Result
from reuse.seeding import seed_everything
from reuse.settings.commands import FinetuneSettings
from reuse.setup.tasks import Task, redrawn_task, task_with

Row = dict[str, Any]
Train = Callable[[Task, Reporter, Path], Result]
"""`(task, reporter, folder) -> result` of a training that is compared."""

SAID = {"scratch": "from scratch", "frozen": "reused and frozen", "unfrozen": "all layers restored, none frozen"}
GAINED = ("accuracy", "r2")
"""Metrics in which a way may gain over the training from scratch; the first that there is."""


@dataclass(frozen=True)
class Way:
    """A way of training that stands in the comparison.

    Attributes:
        name: `scratch`, `frozen` or `unfrozen`.
        settings: its own, but for the data.
        same_as: the way that trains the very same, and so stands for it.
    """

    name: str
    settings: FinetuneSettings
    same_as: str | None


@dataclass(frozen=True)
class Draw:
    """One draw of the labels, on which all ways train.

    Attributes:
        number: from 0, the training's own.
        task: its rows.
        folder: the run that the others stand beside.
    """

    number: int
    task: Task
    folder: Path

    def folder_of(self, way: str) -> Path:
        """Return the run folder of a way."""
        return self.folder / (f"compared-{way}-{self.number + 1}" if self.number else f"compared-{way}")


def compare(task: Task, result: Result, reporter: Reporter, train: Train) -> Result:
    """Train from scratch and unfrozen on the same rows, for each draw of labels, and put the test metrics side by side.

    Without test rows they are the metrics of the validation rows.

    Over several draws a row of the table holds means, half their 95 % intervals as `NAME_interval`, and as `gain` and
    `gain_interval` by how much the way is better than from scratch, paired over the draws.

    Args:
        task: the training's own.
        result: what came of it.
        reporter: told of what is trained, and of the draws after the first only how far they are.
        train: trains another task in a folder.
    """
    ways = ways_of(task.settings, restores=bool(result.restored))
    own, folder, others = _row(result.to_dict()), Path(result.run), (task.settings.draws or 1) - 1
    drawn = [_rows(ways, Draw(0, task, folder), reporter, train, {"frozen": own})]
    if others:
        reporter.line(f"for comparison: all of it on {others} more draw{'s' * (others > 1)} of labels")
    with reporter.rows(others, "comparing", "draw") as progress:
        for number in range(1, others + 1):
            drawn.append(_rows(ways, Draw(number, redrawn_task(task, number), folder), Reporter(), train, {}))
            progress.advance(1)
    seconds = {**result.seconds, "total": round(time.perf_counter() - task.started, 4)}
    compared = replace(result, comparison=_over_draws(drawn), seconds=seconds)
    RunFolder(folder).write_result(compared.to_dict())
    from_main(lambda: _clear(folder))
    return compared


def ways_of(settings: FinetuneSettings, *, restores: bool) -> tuple[Way, ...]:
    """Return the ways in the order in which they train.

    Where nothing was restored, all begins from scratch; where nothing is frozen, the training itself is the unfrozen
    one.
    """
    itself = replace(settings, compare=False, draws=None, data=None, seed=0)  # data are the task's, and may be arrays
    whole = replace(itself, freeze=(), unfreeze=None, auto_freeze=False, feature_noise=0.0, side=None, side_layers=())
    scratch = replace(whole, restore=(), random_weights=True, l2_sp=None)
    if not restores:
        itself, whole = replace(itself, restore=(), random_weights=True), scratch
    ways: list[Way] = []
    for name, own in (("frozen", itself), ("scratch", scratch), ("unfrozen", whole)):
        ways.append(Way(name, own, next((way.name for way in ways if way.settings == own), None)))
    return tuple(ways)


def _rows(
    ways: Sequence[Way], draw: Draw, reporter: Reporter, train: Train, known: Mapping[str, Row]
) -> dict[str, Row]:
    """Return the row of each way on a draw, in the table's order."""
    rows = dict(known)
    for way in ways:
        if way.name not in rows:
            rows[way.name] = rows[way.same_as] if way.same_as else _trained(way, draw, reporter, train)
    return {name: rows[name] for name in SAID}


def _trained(way: Way, draw: Draw, reporter: Reporter, train: Train) -> Row:
    """Return the row of a way that trains on a draw; what was interrupted begins anew, what was finished stays."""
    folder = draw.folder_of(way.name)
    finished = from_main(lambda: _finished(folder))
    if finished is not None:
        return _row(finished)
    reporter.line(f"for comparison: {SAID[way.name]}")
    given = draw.task.settings
    settings = replace(way.settings, data=given.data, seed=given.seed)
    seed_everything(settings.seed)
    return _row(train(task_with(draw.task, settings), reporter, folder).to_dict())


def _finished(folder: Path) -> Mapping[str, Any] | None:
    """Return what a training came to, or None after clearing away what there is of it."""
    result = RunFolder(folder).result() if folder.exists() else None
    if result is None:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _clear(folder: Path) -> None:
    """Remove the runs of the draws after the first: of them the table keeps what counts."""
    for path in folder.glob("compared-*-*"):
        shutil.rmtree(path, ignore_errors=True)


def _row(result: Mapping[str, Any]) -> Row:
    seconds, metrics = result["seconds"]["train"] + result["seconds"]["cache"], result["metrics"]
    return {"epochs": result["epochs"], "seconds": seconds, **(metrics["test"] or metrics["valid"])}


def _over_draws(drawn: Sequence[Mapping[str, Row]]) -> dict[str, Row]:
    """Return the one table over all draws."""
    if len(drawn) == 1:
        return dict(drawn[0])
    by_way = {way: {name: [rows[way][name] for rows in drawn] for name in drawn[0][way]} for way in drawn[0]}
    table = {way: _summary(figures) for way, figures in by_way.items()}
    gained = next((name for name in GAINED if name in by_way["scratch"]), None)
    if gained is not None:
        for way in ("frozen", "unfrozen"):
            mean, low, _ = paired_interval(by_way["scratch"][gained], by_way[way][gained])
            table[way] |= {"gain": mean, "gain_interval": mean - low}
    return table


def _summary(figures: Mapping[str, Sequence[float]]) -> Row:
    """Return the mean of each figure and, of the metrics, half its interval."""
    means = {name: mean_and_error(values)[0] for name, values in figures.items()}
    metrics = [name for name in figures if name not in ("epochs", "seconds")]
    return {"draws": len(figures["epochs"]), **means} | {f"{n}_interval": half_interval(figures[n]) for n in metrics}

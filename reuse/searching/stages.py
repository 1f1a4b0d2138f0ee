"""Training all heads of one architecture of a sweep."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from reuse.data.dataset import Dataset
from reuse.data.rows import Rows
from reuse.errors import DataError
from reuse.heads.fitting import FittedHeads, Measured, Metrics, fit_heads, measure_heads
from reuse.heads.head import Head
from reuse.heads.many_heads import ManyHeads
from reuse.objectives.objective import Objective
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.searching.architectures import Architecture, build_architecture, rows_to_measure, rows_to_train
from reuse.searching.folds import Division
from reuse.searching.grid import Choice
from reuse.searching.solver_choices import SolverChoice
from reuse.searching.table import Configuration, mean_and_error
from reuse.settings.commands import FinetuneSettings
from reuse.setup.tasks import Task
from reuse.units import format_count, verb_of

Trial = tuple[Choice | SolverChoice, int, Division | None]
"""One head: its settings, the seed of its initial weights, and its rows."""


@dataclass(frozen=True)
class Sweep:
    """The things that all heads of a sweep have in common.

    Attributes:
        task: the model and settings that are not tried.
        data: the labelled rows.
        divisions: which rows heads learn from and are measured on; None: the splits as they are.
        objective: what is minimised.
        seeds: of initial weights.
        run: where epochs are recorded.
        reporter: told of lines.
    """

    task: Task
    data: Dataset
    divisions: list[Division] | None
    objective: Objective
    seeds: list[int]
    run: RunFolder
    reporter: Reporter

    @property
    def parts(self) -> list[Division | None]:
        """The divisions, or a None for the splits as they are."""
        return [None] if self.divisions is None else [*self.divisions]


@dataclass(frozen=True)
class Stage:
    """The heads of one architecture, trained.

    Attributes:
        architecture: what they share.
        many: with each head's best weights.
        configurations: one a head.
        divisions: of each head.
        epochs: how many have run.
        cache_seconds: of building, cutting, computing and writing activations.
        train_seconds: of the epochs with validation.
    """

    architecture: Architecture
    many: ManyHeads
    configurations: list[Configuration]
    divisions: list[Division | None]
    epochs: int
    cache_seconds: float
    train_seconds: float

    def place(self, configuration: Configuration) -> int:
        """Return where a configuration stands among these."""
        return configuration.number - self.configurations[0].number

    def tested(self, own: Sequence[Configuration], objective: Objective) -> dict[str, dict[str, float | None]]:
        """Return the mean and standard error of each metric of some heads on the test rows."""
        source, targets = self.architecture.rows("test")
        if not len(source):
            return {}
        found = measure_heads(self.many, objective, Measured(source, targets))
        every = [found[self.place(one)] for one in own]
        summed = {name: mean_and_error([metrics[name] for metrics in every]) for name in every[0]}
        return {name: {"mean": mean, "standard_error": error} for name, (mean, error) in summed.items()}


def train_stage(sweep: Sweep, head: str, choices: Sequence[Choice], first: int) -> Stage:
    """Train all heads of an architecture.

    Args:
        sweep: what all heads have in common.
        head: the architecture.
        choices: of all architectures.
        first: number of its first head.

    Raises:
        DataError: there are no validation rows.
    """
    started = time.perf_counter()
    settings = sweep.task.settings
    architecture = architecture_of(sweep, head, Reporter() if first else sweep.reporter)
    own = [choice for choice in choices if choice.head == head]
    trials = [(c, seed, division) for c in own for seed in sweep.seeds for division in sweep.parts]
    train, valid, used = rows_of(architecture, sweep, [division for _, _, division in trials])
    heads = [
        _head(choice, architecture.starts[seed], rows_in(division, used), settings) for choice, seed, division in trials
    ]
    cached = time.perf_counter()
    many = ManyHeads(architecture.network, sweep.objective, heads, batch_size=settings.batch_size, seed=settings.seed)
    sweep.reporter.line(
        f"{format_count(len(heads), 'head')} {verb_of(len(heads), 'is', 'are')} trained together on "
        f"{len(train[0])} rows"
    )
    fitted = fit_heads(
        many,
        train,
        valid,
        epochs=settings.epochs,
        patience=settings.patience if settings.early_stopping else None,
        on_epoch=partial(_record, sweep.run, head, first),
    )
    measured = measure_heads(many, sweep.objective, valid)
    configurations = _configurations(trials, settings.labels, first, fitted, measured)
    seconds = cached - started, time.perf_counter() - cached
    return Stage(architecture, many, configurations, [trial[2] for trial in trials], fitted.epochs, *seconds)


def architecture_of(sweep: Sweep, head: str, reporter: Reporter) -> Architecture:
    """Return what the heads of a sweep that are called `head` have in common."""
    return build_architecture(head, sweep.task, sweep.data, sweep.objective, sweep.seeds, reporter)


def rows_of(
    architecture: Architecture, sweep: Sweep, divisions: Sequence[Division | None]
) -> tuple[tuple[Rows, Tensor], Measured, Tensor | None]:
    """Return the rows to train on, those to measure on, and which of the pool's rows the first are.

    Args:
        architecture: whose cached rows they are.
        sweep: what all heads have in common.
        divisions: of each head.

    Raises:
        DataError: there are no validation rows.
    """
    if sweep.divisions is None:
        train, valid, used = architecture.rows("train"), Measured(*architecture.rows("valid")), None
    else:
        train, used = rows_to_train(architecture, sweep.divisions)
        valid = rows_to_measure(architecture, [division for division in divisions if division is not None])
    if not len(valid.source):
        raise DataError("there are no validation rows to choose among heads by: give more labels, or folds")
    return train, valid, used


def rows_in(division: Division | None, used: Tensor | None) -> Tensor | None:
    """Return which of the rows to train on a division's heads learn from; None: all."""
    return None if division is None or used is None else division.train[used]


def _head(choice: Choice, weights: Mapping[str, Tensor], rows: Tensor | None, settings: FinetuneSettings) -> Head:
    optimizer = choice.optimizer_settings(settings.decay_all)
    return Head(weights, optimizer, choice.schedule, settings.warmup, rows)


def _record(run: RunFolder, head: str, first: int, epoch: int, losses: Tensor, accuracies: Tensor) -> None:
    """Add an epoch to the history: losses and accuracies of the heads from number `first` on."""
    line: dict[str, Any] = {"epoch": epoch, "head": head, "first": first, "loss": _finite(losses)}
    run.append_history(line if accuracies.isnan().all() else {**line, "accuracy": _finite(accuracies)})


def _finite(values: Tensor) -> list[float | None]:
    """Return numbers for JSON, which knows no others than finite ones."""
    return [round(value, 6) if math.isfinite(value) else None for value in values.tolist()]


def _configurations(
    trials: Sequence[Trial], labels: int | str | None, first: int, fitted: FittedHeads, measured: Sequence[Metrics]
) -> list[Configuration]:
    found = []
    for place, (choice, seed, division) in enumerate(trials):
        own, fold = (labels, None) if division is None else (division.labels, division.fold)
        epoch = fitted.best_epochs[place]
        found.append(Configuration(first + place, choice, seed, own, fold, epoch, measured[place]))
    return found

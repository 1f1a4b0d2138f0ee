"""`sweep`: train a head for every combination of settings, seeds, folds and numbers of labels, all together."""

import time
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from reuse.data.dataset import Dataset
from reuse.errors import UsageError
from reuse.objectives.labelled import from_labels
from reuse.objectives.objective import Objective
from reuse.reporting import Reporter
from reuse.runs.fitting import Interrupted
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest
from reuse.searching.architectures import model_spec
from reuse.searching.folds import Division, Label, divide
from reuse.searching.grid import Choice, read_choices, read_labels
from reuse.searching.keeping import BEST, check_keep, keep_head
from reuse.searching.layer_sweep import sweep_layers
from reuse.searching.result import SweepResult
from reuse.searching.solved_stages import solve_stage
from reuse.searching.solver_choices import PENALTIES, SolverChoice, read_solver_choices, refuse_steps
from reuse.searching.stages import Stage, Sweep, train_stage
from reuse.searching.table import Configuration, best_of, choose_metric, ranked
from reuse.settings.calling import Given, carried, overridden, takes_given
from reuse.settings.commands import FinetuneSettings, HeadSettings, SweepArguments
from reuse.settings.files import plain_settings
from reuse.settings.setting import settings_of
from reuse.setup.data import load_data, preprocessing_for
from reuse.setup.tasks import Task, new_task

PRECISIONS = ("float32", "float64")


@takes_given(SweepArguments)
def sweep(arguments: SweepArguments, given: Given) -> SweepResult:
    """Train, or solve for, a head for every combination of these lists at once, on cached outputs of frozen layers.

    Each head is what `finetune` with its settings would train on these batches; what all share, the frozen layers and
    the reading of batches, is done once, and the heads' products are one. Preprocessing that is not the source's is
    fitted once, on the training rows of all heads.

    Returns:
        The table of all combinations, and the best.

    Raises:
        UsageError, DataError, RunError, CacheError: something given cannot be taken; the message says what to do.

    Example:
        >>> sweep("timm:resnet18", freeze="!fc", data="photos/", learning_rate=[0.001, 0.01], seeds=3).best
        ... # doctest: +SKIP
    """
    listener = arguments.reporter or Reporter()
    started, called = listener.start(), time.perf_counter()
    check_keep(arguments.keep)
    if arguments.probe_layers:
        return sweep_layers(arguments, given, listener, started)
    choices, counts = _choices(arguments, given), read_labels(arguments.labels)
    common = _common_settings(arguments, given, choices[0], counts[0])
    task = new_task(common, given, listener, fresh_head=True)
    data, divisions = _divided(task, counts, arguments.folds)
    load_seconds = time.perf_counter() - called
    objective = from_labels(data, task.settings)
    metric = choose_metric(arguments.metric, data.task)
    for choice in choices:
        spec = model_spec(task.recipe.spec, choice.head)  # refused now, and not when others are trained
        replace(task.recipe, spec=spec).check_size()
    run = RunFolder.create("sweep", arguments.out)
    resolved = _resolved(arguments, task, metric)
    run.write_settings("sweep", resolved)
    seeds = [task.settings.seed + number for number in range(arguments.seeds)]
    stages = _train(Sweep(task, data, divisions, objective, seeds, run, listener), choices)
    configurations = [one for stage in stages for one in stage.configurations]
    table = ranked(configurations, metric)
    winner = best_of(table[0][1], metric)
    stage = next(stage for stage in stages if winner in stage.configurations)
    seconds = {
        "start": called - started,
        "load": load_seconds,
        "cache": sum(stage.cache_seconds for stage in stages),
        "train": sum(stage.train_seconds for stage in stages),
        "total": time.perf_counter() - started,
    }
    seconds = {name: round(value, 4) for name, value in seconds.items()}
    kept = None if arguments.keep is None else str(_keep(run, stage, winner, data, objective, seconds))
    source = str(task.settings.source)
    result = SweepResult(
        run=str(run.path),
        source=source,
        settings=resolved,
        metric=metric,
        table=[row for row, _ in table],
        best={**table[0][0], "number": winner.number, "test": stage.tested(table[0][1], objective)},
        configurations=[one.to_dict() for one in configurations],
        epochs={stage.architecture.head: stage.epochs for stage in stages},
        sizes=task.data.sizes if divisions is None else {"pool": len(data.train), "test": len(data.test)},
        frozen=stage.architecture.freezing.layers,
        frontier=list(stage.architecture.features.frontier),
        cache=stage.architecture.feed.cache,
        seconds=seconds,
        kept=kept,
    )
    run.write_manifest(Manifest("sweep", data.task, data=data.name, source=source))
    run.write_result(result.to_dict())
    return result


def _train(sweep: Sweep, choices: Sequence[Choice] | Sequence[SolverChoice]) -> list[Stage]:
    """Train the heads of each architecture in turn, on the same batches."""
    solved = [choice for choice in choices if isinstance(choice, SolverChoice)]
    if solved:
        return [solve_stage(sweep, solved)]
    trained = [choice for choice in choices if isinstance(choice, Choice)]
    stages: list[Stage] = []
    try:
        for name in dict.fromkeys(choice.head for choice in trained):
            stages.append(train_stage(sweep, name, trained, sum(len(stage.many) for stage in stages)))
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; {sweep.run.path} holds the epochs so far: begin the sweep anew") from error
    return stages


def _choices(arguments: SweepArguments, given: Given) -> list[Choice] | list[SolverChoice]:
    """Return every combination of what is tried."""
    if arguments.solver is not None:
        refuse_steps(given)
        return read_solver_choices(head=arguments.head, solver=arguments.solver, penalty=arguments.penalty)
    if arguments.penalty is not None:
        raise UsageError(
            f"penalty is {arguments.penalty!r}, and heads that are trained by steps have a weight_decay instead: name "
            "a solver, such as logistic"
        )
    return read_choices(
        head=arguments.head,
        optimizer=arguments.optimizer,
        learning_rate=arguments.learning_rate,
        weight_decay=arguments.weight_decay,
        momentum=arguments.momentum,
        schedule=arguments.schedule,
    )


def _common_settings(
    arguments: SweepArguments, given: Given, first: Choice | SolverChoice, labels: Label
) -> FinetuneSettings:
    """Return the settings of the fine-tuning that every head begins as.

    Raises:
        UsageError: a setting that heads which are trained together cannot have.
    """
    tried = {field.name for field in fields(Choice)} | {"labels"}
    settings = first.applied(carried(arguments, given - tried, FinetuneSettings))
    if settings.precision not in PRECISIONS:
        raise UsageError(f"precision is {settings.precision}: a sweep computes in {' or '.join(PRECISIONS)}")
    return replace(settings, labels=labels, compare=False)


def _resolved(arguments: SweepArguments, task: Task, metric: str) -> dict[str, Any]:
    """Return the settings of a sweep, filled in: what is tried as it was given, the rest as all heads have it."""
    tried = settings_of(SweepArguments).keys() & {field.name for field in fields(Choice)}
    shared = settings_of(type(task.settings)).keys() - tried - {"labels"}
    filled = replace(
        overridden(arguments, task.settings, shared), metric=metric, labels=arguments.labels or task.settings.labels
    )
    if arguments.solver and arguments.penalty is None:
        filled = replace(filled, penalty=PENALTIES)
    unused = settings_of(HeadSettings).keys() if arguments.solver else {"solver", "penalty"}
    return {name: value for name, value in plain_settings(filled).items() if name not in unused}


def _divided(task: Task, counts: Sequence[Label], folds: int) -> tuple[Dataset, list[Division] | None]:
    """Return the rows of all heads and which of them each learns from; None where all have the splits as they are."""
    if len(counts) == 1 and not folds:
        return task.data, None
    settings, spec = task.settings, task.recipe.spec
    if folds and settings.group_by is not None:
        raise UsageError("folds would part rows of one group, and group_by keeps them together: leave one of them out")
    if len(counts) == 1:
        rows = {settings.labels: (task.data.train.rows, task.data.valid.rows)}
        return divide(task.data, rows, folds, settings.seed)
    read = partial(load_data, settings.data, settings, model=spec, seed=settings.seed)
    manifest = task.source.manifest if task.source is not None else None
    given = manifest is not None and manifest.preprocessing is not None
    given = given or preprocessing_for(spec, settings.image_size, settings.channels) is not None
    data = read(preprocessing=task.data.preprocessing if given else None)
    loaded = {count: read(preprocessing=data.preprocessing, labels=count) for count in counts}
    rows = {count: (some.train.rows, some.valid.rows) for count, some in loaded.items()}
    return divide(data, rows, folds, settings.seed)


def _keep(
    run: RunFolder,
    stage: Stage,
    winner: Configuration,
    data: Dataset,
    objective: Objective,
    seconds: dict[str, float],
) -> Path:
    place = stage.place(winner)
    weights, division = stage.many.weights(place), stage.divisions[place]
    return keep_head(run.path / BEST, stage.architecture, winner, weights, division, data, objective, seconds)

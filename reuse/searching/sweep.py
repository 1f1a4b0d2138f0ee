"""`sweep`: train a head for every combination of settings, seeds, folds and numbers of labels, all together."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reuse.data.dataset import Dataset
from reuse.errors import UsageError
from reuse.finetuning.finetune import finetune
from reuse.objectives.objective import Objective
from reuse.reporting import Reporter
from reuse.runs.fitting import Interrupted
from reuse.runs.folder import RunFolder
from reuse.searching.architectures import model_spec
from reuse.searching.folds import Division, Label, divide
from reuse.searching.grid import Choice, read_choices, read_labels
from reuse.searching.keeping import keep_head
from reuse.searching.solved_stages import solve_stage
from reuse.searching.solver_choices import PENALTIES, SolverChoice, read_solver_choices, refuse_unused
from reuse.searching.stages import Stage, Sweep, train_stage
from reuse.searching.table import Configuration, best_of, choose_metric, ranked
from reuse.searching.unused_settings import UNUSED_BY_SOLVERS, UNUSED_BY_SWEEP
from reuse.settings import defaults_of
from reuse.setup.finetuning import Task, new_task
from reuse.setup.preprocessing import preprocessing_for
from reuse.setup.running import check_epochs, checked_names, load_data, make_objective, plain_settings

BEST = "best"
PRECISIONS = ("float32", "float64")


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to; `to_dict` is what `--json` prints.

    Attributes:
        run: the run folder.
        source: where layers came from.
        settings: all settings, resolved, those that were tried as lists.
        metric: by which settings are ranked.
        table: a row for each combination of settings and number of labels, best first: mean and standard error of the
            metric on the validation rows over seeds and folds.
        best: the first row, with the mean and standard error of each metric on the test rows.
        configurations: each head, with the metrics of its best epoch on its validation rows.
        epochs: how many have run, by head architecture.
        sizes: rows of each split.
        frozen: names of the frozen layers.
        frontier: name, shape and type of each tensor at the cut.
        cache: what the cache gave, as `finetune` has it.
        seconds: `load`, `cache` (building, cutting, computing and writing activations), `train` and `total`.
        kept: the run of the best head, None where none was to be kept.
    """

    run: str
    source: str
    settings: dict[str, Any]
    metric: str
    table: list[dict[str, Any]]
    best: dict[str, Any]
    configurations: list[dict[str, Any]]
    epochs: dict[str, int]
    sizes: dict[str, int]
    frozen: tuple[str, ...]
    frontier: list[dict[str, Any]]
    cache: dict[str, Any] | None
    seconds: dict[str, float]
    kept: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def sweep(
    source: str | Path | None = None,
    *,
    learning_rate: float | str | Sequence[float] = 1e-3,
    weight_decay: float | str | Sequence[float] = 0.0,
    optimizer: str | Sequence[str] = "adam",
    momentum: float | str | Sequence[float] | None = None,
    schedule: str | Sequence[str] = "constant",
    head: str | Sequence[str] = "0",
    solver: str | Sequence[str] | None = None,
    penalty: float | str | Sequence[float] | None = None,
    seeds: int = 1,
    folds: int = 0,
    labels: int | str | Sequence[int | str] | None = None,
    metric: str | None = None,
    keep: str | None = None,
    out: str | Path | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> SweepResult:
    """Train, or solve for, a head for every combination of these lists at once, on cached outputs of frozen layers.

    Each head is what `finetune` with its settings would train on these batches; what all share, the frozen layers and
    the reading of batches, is done once, and the heads' products are one. Preprocessing that is not the source's is
    fitted once, on the training rows of all heads.

    Args:
        source: whose layers are reused (see `reuse.finetune`); None: the newest pretraining run under `runs`.
        learning_rate: rates to try, such as `0.001,0.01`.
        weight_decay: decays to try.
        optimizer: optimizers to try, of `reuse.heads.stacked_optimizers.STACKABLE`.
        momentum: momenta to try; None takes the optimizer's own.
        schedule: schedules to try, separated by `;`; all but 1cycle.
        head: `0` for the model's own layers, `mlp:100/50` for hidden layers of these widths added; several to try.
        solver: `logistic` or `ridge`, or both: linear heads are solved for and not trained, all penalties at once.
        penalty: penalties to try with a solver, on half the squared weights beside the mean loss of a row, which is
            scikit-learn's 1 / (C · rows), or alpha / rows for ridge; None: 1e-6, 1e-5, …, 1.
        seeds: how many initial weights each combination is trained from: `seed`, `seed + 1`, …
        folds: into how many parts the training and validation rows are divided, each of which validates in turn; 0: the
            validation split does.
        labels: how many labelled rows in all, such as `100,1000`, `10/class` or `all`.
        metric: by which they are ranked; None: accuracy, or r2 of numbers.
        keep: `best` writes the best head as a fine-tuning run, into `best` in the run folder.
        out: the run folder; by default a new one under `runs`.
        reporter: told of lines; by default nobody is.
        settings: those of `finetune` but for `reuse.searching.unused_settings.UNUSED_BY_SWEEP`.

    Returns:
        The table of all combinations, and the best.

    Raises:
        UsageError, DataError, RunError, CacheError: something given cannot be taken; the message says what to do.

    Example:
        >>> sweep("timm:resnet18", freeze="!fc", data="photos/", learning_rate=[0.001, 0.01], seeds=3).best
        ... # doctest: +SKIP
    """
    started, listener = time.perf_counter(), reporter or Reporter()
    tried = {
        "head": head,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "momentum": momentum,
        "schedule": schedule,
    }
    choices: Sequence[Choice] | Sequence[SolverChoice]
    if solver is None:
        _refuse_penalty(penalty)
        choices = read_choices(**tried)
    else:
        refuse_unused({**tried, "seeds": seeds, **settings}, defaults_of(finetune) | defaults_of(sweep))
        tried = {"head": head, "solver": solver, "penalty": PENALTIES if penalty is None else penalty}
        choices = read_solver_choices(**tried)
    counts = read_labels(labels)
    _check(seeds, keep)
    common = _common_settings({"source": source, **settings}, choices[0], counts[0])
    task = new_task(plain_settings(common), common["data"], listener)
    data, divisions = _divided(task, common["data"], counts, folds)
    load_seconds = time.perf_counter() - started
    objective = make_objective(task.settings, data)
    metric = choose_metric(metric, data.task)
    for choice in choices:
        model_spec(task.settings["model"], choice.head)  # refused now, and not when others are trained
    run = RunFolder.create("sweep", out)
    own = {"seeds": seeds, "folds": folds, "labels": labels or task.settings["labels"], "metric": metric, "keep": keep}
    unused = () if solver is None else UNUSED_BY_SOLVERS
    resolved = {name: value for name, value in task.settings.items() if name not in unused}
    resolved |= plain_settings({**tried, **own})
    run.write_settings("sweep", resolved)
    every = [task.settings["seed"] + number for number in range(seeds)]
    stages = _train(Sweep(task, data, divisions, objective, every, run, listener), choices)
    configurations = [one for stage in stages for one in stage.configurations]
    table = ranked(configurations, metric)
    winner = best_of(table[0][1], metric)
    stage = next(stage for stage in stages if winner in stage.configurations)
    seconds = {
        "load": load_seconds,
        "cache": sum(stage.cache_seconds for stage in stages),
        "train": sum(stage.train_seconds for stage in stages),
        "total": time.perf_counter() - started,
    }
    seconds = {name: round(value, 4) for name, value in seconds.items()}
    kept = None if keep is None else str(_keep(run, stage, winner, data, objective, seconds))
    result = SweepResult(
        run=str(run.path),
        source=task.settings["source"],
        settings=resolved,
        metric=metric,
        table=[row for row, _ in table],
        best={**table[0][0], "number": winner.number, "test": stage.tested(table[0][1], objective)},
        configurations=[one.to_dict() for one in configurations],
        epochs={stage.architecture.head: stage.epochs for stage in stages},
        sizes=task.data.sizes if divisions is None else {"pool": len(data.train), "test": len(data.test)},
        frozen=stage.architecture.freezing.layers,
        frontier=stage.architecture.frontier,
        cache=stage.architecture.feed.cache,
        seconds=seconds,
        kept=kept,
    )
    run.write_manifest({"kind": "sweep", "task": data.task, "data": data.name, "source": task.settings["source"]})
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


def _refuse_penalty(penalty: Any) -> None:
    if penalty is not None:
        raise UsageError(
            f"penalty is {penalty!r}, and heads that are trained by steps have a weight_decay instead: name a solver, "
            "such as logistic"
        )


def _check(seeds: int, keep: str | None) -> None:
    if not isinstance(seeds, int) or seeds < 1:
        raise UsageError(f"seeds is {seeds!r}: give how many initial weights to try, 1 or more")
    if keep not in (None, BEST):
        raise UsageError(f"keep is {keep!r}: give {BEST}, or leave it out")


def _common_settings(given: Mapping[str, Any], first: Choice | SolverChoice, labels: Label) -> dict[str, Any]:
    """Return the settings of the fine-tuning that every head begins as, after checking them.

    Raises:
        UsageError: a setting that heads which are trained together cannot have.
    """
    known = checked_names(finetune, given)
    refused = [name for name in UNUSED_BY_SWEEP if name in given and given[name] != known[name]]
    if refused:
        raise UsageError(
            f"a sweep trains heads together on what frozen layers have computed once, and takes no {refused[0]}: leave "
            "it out, or use finetune for each setting"
        )
    settings = {**known, **given, "labels": labels, "compare": False, **first.settings}
    check_epochs(settings)
    if settings["precision"] not in PRECISIONS:
        raise UsageError(f"precision is {settings['precision']}: a sweep computes in {' or '.join(PRECISIONS)}")
    return settings


def _divided(task: Task, spec: Any, counts: Sequence[Label], folds: int) -> tuple[Dataset, list[Division] | None]:
    """Return the rows of all heads and which of them each learns from; None where all have the splits as they are."""
    if len(counts) == 1 and not folds:
        return task.data, None
    settings = task.settings
    if folds and settings["group_by"] is not None:
        raise UsageError("folds would part rows of one group, and group_by keeps them together: leave one of them out")
    if len(counts) == 1:
        rows = {settings["labels"]: (task.data.train.rows, task.data.valid.rows)}
        return divide(task.data, rows, folds, settings["seed"])
    spec = settings["data"] if spec is None else spec
    source = task.source
    given = source is not None and source.manifest.get("preprocessing")
    given = given or preprocessing_for(settings["model"], settings["image_size"], settings["channels"])
    sizes = {"image_size": None, "channels": None}
    if given:
        data = load_data(spec, {**settings, **sizes}, task.data.preprocessing, labels=None)
    else:
        data = load_data(spec, settings, None, labels=None)
    loaded = {n: load_data(spec, {**settings, **sizes}, data.preprocessing, labels=n) for n in counts}
    return divide(data, {n: (some.train.rows, some.valid.rows) for n, some in loaded.items()}, folds, settings["seed"])


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

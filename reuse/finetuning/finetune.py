"""`finetune`: reuse the layers of a source, freeze some, cache what they compute, train the rest."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from reuse.distributed import from_main
from reuse.errors import RunError, UsageError
from reuse.features.preparing import Prepared
from reuse.finetuning.feeding import Given, prepare_phase
from reuse.finetuning.phase import training_later, tune
from reuse.layers.freezing import Freezing
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.runs.results import Result
from reuse.seeding import seed_everything
from reuse.settings import Settings, all_settings
from reuse.setup.beginning import begin
from reuse.setup.finetuning import Task, new_task, resumed_task
from reuse.setup.running import (
    check_epochs,
    checked_names,
    continued,
    plain_settings,
    take_part,
    unlike_defaults,
)
from reuse.setup.sources import find_source


def finetune(
    source: str | Path | None = None,
    *,
    freeze: str | Sequence[str] = (),
    data: Any = None,
    model: str | None = None,
    restore: str | Sequence[str] = (),
    drop_layers: str | None = None,
    add_layers: str | None = None,
    random_weights: bool = False,
    unfreeze: str | None = None,
    unfreeze_warmup: float = 1.0,
    auto_freeze: bool | float = False,
    auto_freeze_every: int | None = None,
    l2_sp: float | None = None,
    epochs: int = 200,
    learning_rate: float = 1e-3,
    cache: bool = True,
    cache_dir: str | Path | None = None,
    cache_dtype: str | None = None,
    cache_budget: int | None = None,
    cache_kind: str = "auto",
    views: int | None = None,
    refresh_views: int | None = None,
    feature_noise: float = 0.0,
    compare: bool | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    reporter: Reporter | None = None,
    **settings: Unpack[Settings],
) -> Result:
    """Train a model on labels from layers that are already trained, and leave a run folder.

    Args:
        source: a run folder, a file of weights, or a model spec such as `timm:resnet18`, which brings timm's pretrained
            weights; None: the newest pretraining run under `runs`.
        freeze: patterns of the layers to freeze (see `reuse.layers.selecting`); none: everything trains.
        data: a data spec or arrays (see `reuse.load`); None: the source run's, with 100 labels and a comparison.
        model: a model spec; None: the source's.
        restore: patterns of the source's layers to restore; none: all that fit, the output layer apart.
        drop_layers: upper hidden layers to leave out, such as `hidden3`.
        add_layers: widths of hidden layers to add on top, such as `50,20`.
        random_weights: do without timm's pretrained weights.
        unfreeze: what trains after so many epochs though it was frozen, such as `5:hidden2,10:all`.
        unfreeze_warmup: epochs over which the rate of layers that begin to train later rises to its full height.
        auto_freeze: let layers freeze by themselves, from the inputs on, as long as their gradients change less from
            interval to interval than a percentile of all changes; True: 50 (AutoFreeze, arXiv 2102.01386).
        auto_freeze_every: length of such an interval in epochs; None: a twentieth of all epochs.
        l2_sp: pull of the reused weights that train towards where they began.
        epochs: the greatest number of epochs.
        learning_rate: the full rate.
        cache: False computes the frozen layers anew each epoch.
        cache_dir: where activations are kept; None: `$REUSE_CACHE` or `./cache`.
        cache_dtype: in which type they are stored, such as `float16`; None: as computed.
        cache_budget: bytes that all caches together may take.
        cache_kind: where activations are kept: `disk`, `memory` for this run alone, or `auto`, the faster of them.
        views: versions of each training row, as it is and changed by `augment`, that are cached and read in turn.
        refresh_views: epochs from one new version to the next, which is computed in the background.
        feature_noise: normal noise on what frozen layers compute, in parts of each feature's deviation, such as 0.1.
        compare: train from scratch and unfrozen too; None: only where `data` is not given.
        out: the run folder; by default a new one under `runs`.
        resume: a run folder to go on with; what is not given otherwise comes from its settings.
        reporter: told of lines and epochs; by default nobody is.
        settings: what both commands take (see `reuse.settings.Settings`).

    Returns:
        What the training came to.

    Raises:
        UsageError, DataError, RunError, CacheError: something given cannot be taken; the message says what to do.

    Example:
        >>> finetune("timm:resnet18", freeze="!fc", data="photos/", epochs=20)  # doctest: +SKIP
    """
    arguments = all_settings(finetune, locals())
    listener = take_part(reporter)
    if resume is not None:
        return go_on(**unlike_defaults(finetune, arguments))
    check_epochs(arguments)
    task = new_task(plain_settings(arguments), data, listener)
    result = tune(task, listener, out=out)
    return _with_comparison(task, result, listener) if task.settings["compare"] else result


def go_on(resume: str | Path, *, reporter: Reporter | None = None, **given: Any) -> Result:
    """Go on with a fine-tuning that was interrupted, or for more epochs.

    `finetune(resume=...)` comes here; it cannot tell an argument that is given its default from one that is not given.

    Args:
        resume: the run folder.
        reporter: told of lines and epochs.
        given: settings of `finetune` that are to differ from those that the run began with.

    Raises:
        UsageError, DataError, RunError, CacheError: as `finetune`; other rows than those that the run began with.
    """
    listener, run = take_part(reporter), RunFolder.open(resume)
    settings, spec = continued(finetune, given, run)
    task = resumed_task(settings, spec, run, listener)
    result = tune(task, listener, run=run)
    if not settings["compare"]:
        return result
    try:
        source = find_source(settings["source"])
    except RunError as error:
        listener.line(f"no comparison: {error}")
        return result
    return _with_comparison(replace(task, source=source), result, listener)


def plan(**settings: Any) -> tuple[Freezing, Prepared]:
    """Do all of `finetune` that comes before computing activations and training; writes nothing.

    Args:
        settings: those of `finetune`.

    Returns:
        What is frozen at first, and the cut with its plan, fingerprint and place in the cache: those of the first
        phase where `unfreeze` makes several.

    Raises:
        CutError: the model cannot be cut, or augmentation leaves nothing to cache; the message says why.
        UsageError, DataError, RunError: as `finetune`.
    """
    arguments = {**checked_names(finetune, settings), **settings}
    if arguments["resume"] is not None or arguments["out"] is not None:
        raise UsageError("a plan writes and resumes nothing: leave resume and out away")
    check_epochs(arguments)
    task = new_task(plain_settings(arguments), arguments["data"], arguments["reporter"] or Reporter())
    begun = begin(task, Reporter())
    later = training_later(begun.model, begun.phases[1:])
    given = Given(task, begun.model, begun.objective, begun.compute, begun.phases[0], later, begun.anchors)
    return begun.freezing, prepare_phase(given)


def _with_comparison(task: Task, result: Result, reporter: Reporter) -> Result:
    """Train from scratch and unfrozen on the same rows and put the test metrics side by side."""
    folder = Path(result.run)
    cleared: dict[str, Any] = {"freeze": [], "unfreeze": None, "auto_freeze": False, "feature_noise": 0.0}
    settings = {**task.settings, **cleared, "compare": False}
    scratch = {**settings, "restore": [], "random_weights": True, "l2_sp": None}
    table = {
        "scratch": _compared(replace(task, settings=scratch), folder / "compared-scratch", "from scratch", reporter),
        "frozen": _row(result.to_dict()),
        "unfrozen": _compared(
            replace(task, settings=settings),
            folder / "compared-unfrozen",
            "all layers restored, none frozen",
            reporter,
        ),
    }
    compared = replace(result, comparison=table)
    RunFolder(folder).write_result(compared.to_dict())
    return compared


def _compared(task: Task, folder: Path, what: str, reporter: Reporter) -> dict[str, Any]:
    """Return the table's row for another training on the same rows; one that was interrupted begins anew."""
    finished = from_main(lambda: _finished(folder))
    if finished is not None:
        return _row(finished)
    reporter.line(f"for comparison: {what}")
    seed_everything(task.settings["seed"])
    return _row(tune(replace(task, started=time.perf_counter()), reporter, out=folder).to_dict())


def _finished(folder: Path) -> dict[str, Any] | None:
    """Return what another training came to, or None after clearing away what there is of it."""
    result = RunFolder(folder).result() if folder.exists() else None
    if result is None:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    seconds = result["seconds"]["train"] + result["seconds"]["cache"]
    return {"epochs": result["epochs"], "seconds": seconds, **result["metrics"]["test"]}

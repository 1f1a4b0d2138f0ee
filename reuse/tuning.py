"""One fine-tuning, from a task to a recorded run."""

import time
from pathlib import Path

from torch import nn

from reuse.devices import dtype_name
from reuse.equipping import make_trainer
from reuse.errors import CutError
from reuse.feeding import (
    CacheSettings,
    Compute,
    Feed,
    Prepared,
    describe_plan,
    feed_activations,
    feed_inputs,
    prepare,
)
from reuse.layers.freezing import Freezing
from reuse.objectives.objective import Objective
from reuse.objectives.supervised import supervised
from reuse.results import Result
from reuse.running import (
    Trained,
    choose_compute,
    data_digests,
    train,
)
from reuse.runs.checkpoints import load_newest, savable_tensors, save_start
from reuse.runs.fitting import interruptible
from reuse.runs.folder import WEIGHTS, RunFolder
from reuse.runs.reporting import Reporter
from reuse.runs.tensor_files import save_tensors
from reuse.tasks import Origins, Task, freeze_layers, restored_model


def tune(task: Task, reporter: Reporter, *, run: RunFolder | None = None, out: str | Path | None = None) -> Result:
    """Build, restore, freeze, cut, cache, train, record.

    Args:
        task: what to work on.
        reporter: told of lines and epochs.
        run: to go on with; None begins a new one.
        out: the folder of a new run; None chooses one.
    """
    settings, data, resume = task.settings, task.data, run is not None
    compute = choose_compute(settings)
    objective = supervised(data.task, data.num_outputs, label_smoothing=settings["label_smoothing"])
    model, origins = restored_model(task, reporter, resume)
    model.to(compute.device, compute.dtype)
    fresh = () if run else origins.fresh
    freezing = freeze_layers(model, settings, fresh, reporter)
    run = _resumed_run(run, task, model) if run else _new_run(task, model, origins, out)
    with interruptible(run):
        feed, prepared, why_not = _feed(model, task, objective, compute, freezing, run, reporter)
        trainer = make_trainer(model, objective, feed, settings, data)
        done = train(trainer, feed, settings, run, reporter, resume)
        save_tensors(run.path / WEIGHTS, savable_tensors(model))
    notes = (*data.notes, *([why_not] if why_not else []))
    result = _result(task, run, freezing, feed, prepared, done, notes)
    run.write_result(result.to_dict())
    return result


def _feed(
    model: nn.Module,
    task: Task,
    objective: Objective,
    compute: Compute,
    freezing: Freezing,
    run: RunFolder,
    reporter: Reporter,
) -> tuple[Feed, Prepared | None, str]:
    """Return what the trainer reads, the cut and plan behind it, and why nothing is cached where that is so."""
    wanted = cache_settings(task)
    if not freezing.parameters or not wanted.use:
        return feed_inputs(model, task.data, compute), None, ""
    try:
        prepared = prepare(model, task.data, objective, compute, wanted, task.settings["epochs"])
    except CutError as error:
        why_not = f"trained without a cache: {error}"
        reporter.line(why_not)
        return feed_inputs(model, task.data, compute), None, why_not
    for line in describe_plan(prepared):
        reporter.line(line)
    # The plan is measured, so it may turn out otherwise another time; what a run began with it goes on with.
    cached = run.manifest().get("cached", prepared.plan.cache)
    run.update_manifest(cached=cached)
    if not cached:
        reason = prepared.plan.reason or "as it began"
        feed = feed_inputs(model, task.data, compute)
        feed.seconds.update(prepared.seconds)
        return feed, prepared, f"trained without a cache: {reason}"
    return feed_activations(prepared, task.data, compute, reporter), prepared, ""


def cache_settings(task: Task) -> CacheSettings:
    """Return what the settings of a task say about the cache."""
    settings = task.settings
    return CacheSettings(settings["cache"], settings["cache_dir"], settings["cache_dtype"], settings["cache_budget"])


def _resumed_run(run: RunFolder, task: Task, model: nn.Module) -> RunFolder:
    """Put the model back as it was and note the settings that go on."""
    load_newest(run, model)
    run.write_settings("finetune", task.settings)
    return run


def _new_run(task: Task, model: nn.Module, origins: Origins, out: str | Path | None) -> RunFolder:
    run = RunFolder.create("finetune", out)
    save_start(run, model)
    run.write_settings("finetune", task.settings)
    run.write_manifest(
        {
            "kind": "finetune",
            "objective": "supervised",
            "task": task.data.task,
            "classes": list(task.data.classes),
            "model": task.recipe.to_dict(),
            "data": task.data.name,
            "preprocessing": task.data.preprocessing.to_dict(),
            "source": task.source.name if task.source else None,
            "restored": list(origins.restored),
            "fresh": list(origins.fresh),
            "rows": data_digests(task.data),
        }
    )
    return run


def _result(
    task: Task,
    run: RunFolder,
    freezing: Freezing,
    feed: Feed,
    prepared: Prepared | None,
    done: Trained,
    notes: tuple[str, ...],
) -> Result:
    seconds = {"load": task.load_seconds, **feed.seconds, "train": done.seconds}
    seconds["total"] = time.perf_counter() - task.started
    stored, began = prepared.stored if prepared else (), run.manifest()
    return Result(
        run=str(run.path),
        source=task.settings["source"],
        settings=task.settings,
        epochs=done.fitted.epochs,
        best_epoch=done.fitted.best_epoch,
        sizes=task.data.sizes,
        metrics=done.metrics,
        seconds={name: round(value, 4) for name, value in seconds.items()},
        frozen=freezing.layers,
        restored=tuple(began.get("restored", ())),
        fresh=tuple(began.get("fresh", ())),
        frontier=tuple({"name": f.name, "shape": list(f.shape), "dtype": dtype_name(f.dtype)} for f in stored),
        cache=feed.cache,
        phases=({"epoch": 1, "frozen": list(freezing.layers)},),
        plan=prepared.plan.to_dict() if prepared else None,
        notes=notes,
    )

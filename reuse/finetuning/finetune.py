"""`finetune`: reuse the layers of a source, freeze some, cache what they compute, train the rest."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from reuse.caching.ownership import note_made_here, refuse_long_names
from reuse.distributed import from_main, is_main, world_size
from reuse.errors import RunError, UnusableImagesError, UsageError
from reuse.features.planned import PlannedFeatures
from reuse.finetuning.comparing import compare
from reuse.finetuning.feeding import PhaseNeeds, plan_phase_features
from reuse.finetuning.phase import TuningProgress, train_phase, training_later
from reuse.layers.freezing import Freezing
from reuse.layers.own_forward import UnreadError
from reuse.reporting import Reporter
from reuse.runs.checkpoints import ANCHORS, load_newest, newest_epoch, save_start
from reuse.runs.claiming import claimed
from reuse.runs.fitting import interruptible
from reuse.runs.folder import RunFolder
from reuse.runs.phases import remaining, settle_after, settle_as_before
from reuse.runs.results import Result
from reuse.runs.tensor_files import save_tensors
from reuse.runs.weights import save_weights
from reuse.settings.calling import Given, carried, overridden, takes_given
from reuse.settings.commands import FinetuneArguments, FinetuneSettings, PlanArguments
from reuse.settings.files import plain_settings
from reuse.setup.finetuning import FinetuneSetup, begin_manifest, set_up
from reuse.setup.resuming import saved_settings
from reuse.setup.sources import find_source
from reuse.setup.tasks import Task, new_task, resumed_task
from reuse.setup.trainers import make_stopping
from reuse.training.parallel import describe_spread, take_part


@takes_given(FinetuneArguments)
def finetune(arguments: FinetuneArguments, given: Given) -> Result:
    """Train a model on labels from layers that are already trained, and leave a run folder.

    Returns:
        The outcome of the training.

    Raises:
        UsageError, DataError, RunError, CacheError: something given cannot be taken; the message says what to do.

    Example:
        >>> finetune("timm:resnet18", freeze="!fc", data="photos/", epochs=20)  # doctest: +SKIP
    """
    reporter = take_part(arguments.reporter)
    if arguments.resume is not None:
        return _go_on(RunFolder.open(arguments.resume), arguments, given, reporter)
    task = new_task(carried(arguments, given, FinetuneSettings), given, reporter)
    result = tune(task, reporter, out=arguments.out)
    return compare(task, result, reporter, _tune_beside) if task.settings.compare else result


@takes_given(PlanArguments)
def plan(arguments: PlanArguments, given: Given) -> tuple[Freezing, PlannedFeatures]:
    """Do all of `finetune` that comes before computing activations and training; leaves no run and computes none.

    Of activations that an interrupted run has computed, what is not published yet is, so that it counts.

    Returns:
        What is frozen at first, and the cut with its plan, fingerprint and place in the cache: those of the first
        phase where `unfreeze` makes several.

    Raises:
        CutError: the model cannot be cut, or augmentation leaves nothing to cache; the message says why.
        UsageError, DataError, RunError: as `finetune`.
    """
    settings = carried(arguments, given, FinetuneSettings)
    task = new_task(settings, given, arguments.reporter or Reporter(), caches=False)
    setup = set_up(task, Reporter())
    later = training_later(setup.model, setup.phases[1:])
    return setup.freezing, plan_phase_features(PhaseNeeds(setup, setup.phases[0], later))


def tune(task: Task, reporter: Reporter, *, run: RunFolder | None = None, out: str | Path | None = None) -> Result:
    """Build, restore, freeze, and in each phase cut, cache and train; record.

    Args:
        task: what to work on.
        reporter: told of lines and epochs.
        run: to go on with; None begins a new one.
        out: the folder of a new run; None chooses one.
    """
    settings, resume = task.settings, run is not None
    if settings.unfreeze and world_size() > 1 and settings.parallel == "fsdp":
        raise UsageError("unfreezing needs a model that is whole, and fsdp divides it once: choose parallel=ddp")
    with ExitStack() as held:
        if run is not None:
            folder = run.path
            from_main(lambda: held.enter_context(claimed(folder)))
        setup = set_up(task, reporter, run)  # what cannot be taken is refused before anything is written
        run = _resumed_run(run, setup) if run else from_main(lambda: _new_run(setup, out, held))
        try:
            return _tune(setup, run, reporter, resume=resume)
        except UnreadError as error:
            if world_size() > 1:  # the others wait for this one
                raise
            reporter.line(f"{error.WHAT}: going on without the cache, from the last checkpoint")
    return tune(replace(task, settings=replace(settings, cache=False)), reporter, run=run)


def _tune(setup: FinetuneSetup, run: RunFolder, reporter: Reporter, *, resume: bool) -> Result:
    """Train in a run folder that is ours alone."""
    settings = setup.task.settings
    for line in describe_spread(setup.model):
        reporter.line(line)
    progress = TuningProgress(make_stopping(setup.objective, settings), resume)
    with interruptible(run), nullcontext() if resume else _discarding(run):
        if resume:
            fresh = make_stopping(setup.objective, settings)
            settle_as_before(setup.phases, run, fresh, watched=settings.auto_freeze is not False)
        for phase in remaining(setup.phases, run):
            trainer = train_phase(setup, phase, progress, run, reporter)
            if progress.goes_on and trainer.settling.settled:
                settle_after(trainer.epoch, trainer.settling.settled, setup.phases, run)
        save_weights(run, setup.model)
    result = from_main(lambda: _result(setup, run, progress))  # it reads what the first process has written
    run.write_result(result.to_dict())
    return result


def _tune_beside(task: Task, reporter: Reporter, folder: Path) -> Result:
    """Train another task in a folder, its time beginning now."""
    return tune(replace(task, started=time.perf_counter()), reporter, out=folder)


def _go_on(run: RunFolder, arguments: FinetuneArguments, given: Given, reporter: Reporter) -> Result:
    """Go on with a fine-tuning that was interrupted, or for more epochs."""
    saved = saved_settings(run, FinetuneSettings, given, trust=arguments.trust)
    task = resumed_task(overridden(saved, arguments, given), run, reporter)
    result = tune(task, reporter, run=run)
    if not task.settings.compare:
        return result
    try:
        source = find_source(task.settings.source)
    except RunError as error:
        reporter.line(f"no comparison: {error}")
        return result
    return compare(replace(task, source=source), result, reporter, _tune_beside)


def _resumed_run(run: RunFolder, setup: FinetuneSetup) -> RunFolder:
    """Put the model back as it was and note the settings that go on."""
    load_newest(run, setup.model)
    run.write_settings("finetune", plain_settings(setup.task.settings))
    return run


def _new_run(setup: FinetuneSetup, out: str | Path | None, held: ExitStack) -> RunFolder:
    task, cache_dir = setup.task, setup.task.settings.cache_dir
    if cache_dir is not None:
        refuse_long_names(Path(cache_dir))
    run = RunFolder.begin("finetune", out, held)
    if cache_dir is not None:
        note_made_here(Path(cache_dir))  # so that the run may go on with it, whatever is stored by then
    save_start(run, setup.model)
    if setup.anchors:
        save_tensors(run.path / ANCHORS, dict(setup.anchors))
    run.write_settings("finetune", plain_settings(task.settings))
    run.write_manifest(begin_manifest(task, setup.origins, task.data))
    return run


@contextmanager
def _discarding(run: RunFolder) -> Iterator[None]:
    """Leave no new run behind that has trained nothing when it turns out that its images cannot be used."""
    try:
        yield
    except UnusableImagesError:
        if is_main() and newest_epoch(run) == 0:
            run.discard()
        raise


def _result(setup: FinetuneSetup, run: RunFolder, progress: TuningProgress) -> Result:
    assert progress.done is not None
    task, features, done, began = setup.task, progress.features, progress.done, run.manifest()
    seconds = {**task.seconds, **progress.seconds}
    seconds["total"] = time.perf_counter() - task.started
    phases = tuple(phase.to_dict() for phase in began.phases)
    return Result(
        run=str(run.path),
        source=task.settings.source if isinstance(task.settings.source, str) else None,
        settings=plain_settings(task.settings),
        epochs=done.epochs,
        best_epoch=done.best_epoch,
        sizes=task.data.sizes,
        metrics=done.metrics,
        seconds={name: round(value, 4) for name, value in seconds.items()},
        frozen=setup.freezing.layers,
        restored=began.restored,
        fresh=began.fresh,
        frontier=tuple(phases[0]["frontier"]),
        cache=progress.cache,
        phases=phases,
        plan=features.plan.to_dict() if features else None,
        notes=(task.data.summary, *task.data.notes, *setup.notes, *dict.fromkeys(progress.notes)),
    )

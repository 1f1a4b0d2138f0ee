"""`pretrain`: train layers that others will reuse, without labels or on the labels of another task."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from torch import nn

from reuse.distributed import from_main, world_size
from reuse.features.feeding import feed_inputs
from reuse.features.outputs import outputs_of
from reuse.layout import is_several
from reuse.objectives.objective import TrainingStage
from reuse.pretraining.probing import ERROR, FeatureProbe, probe_of
from reuse.pretraining.stage import StageProgress, train_stage
from reuse.reporting import Reporter
from reuse.runs.checkpoints import load_newest, savable_tensors, save_start
from reuse.runs.claiming import claimed
from reuse.runs.fitting import EpochRange, interruptible, train
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest
from reuse.runs.phases import remaining
from reuse.runs.pictures import Gallery
from reuse.runs.results import Result
from reuse.runs.tensor_files import save_tensors
from reuse.runs.weights import save_weights
from reuse.settings.calling import Given, carried, overridden, takes_given
from reuse.settings.commands import PretrainArguments, PretrainSettings
from reuse.settings.files import objective_name, plain_settings
from reuse.setup.data import check_same_data, data_digests
from reuse.setup.pretraining import PretrainSetup, set_up
from reuse.setup.resuming import saved_settings
from reuse.setup.trainers import make_stopping, make_trainer
from reuse.training.parallel import describe_spread, spread, take_part
from reuse.training.phases import lay_out

DEMONSTRATED = "simclr"


@takes_given(PretrainArguments)
def pretrain(arguments: PretrainArguments, given: Given) -> Result:
    """Train a model whose lower layers are to be reused, and leave a run folder.

    Returns:
        The outcome of the training.

    Raises:
        UsageError, DataError, RunError: something given cannot be taken; the message says what to do.

    Example:
        >>> result = pretrain(data="digits", model="mlp:100,50,25", epochs=5)  # doctest: +SKIP
        >>> finetune(result.run, freeze="hidden1,hidden2")  # doctest: +SKIP
    """
    reporter = take_part(arguments.reporter)
    with ExitStack() as held:
        if arguments.resume is not None:
            return _go_on(RunFolder.open(arguments.resume), arguments, given, reporter, held)
        setup = set_up(_demonstrated(carried(arguments, given, PretrainSettings), given, reporter), reporter)
        run = from_main(lambda: _new_run(setup, arguments.out, held))
        return _train(setup, run, reporter, resume=False)


def _go_on(run: RunFolder, arguments: PretrainArguments, given: Given, reporter: Reporter, held: ExitStack) -> Result:
    """Go on with a pretraining that was interrupted, or for more epochs."""
    from_main(lambda: held.enter_context(claimed(run.path)))
    settings = overridden(saved_settings(run, PretrainSettings, given, trust=arguments.trust), arguments, given)
    setup = set_up(settings, reporter, run)
    check_same_data(run, setup.data)
    load_newest(run, setup.trained)
    run.write_settings("pretrain", plain_settings(setup.settings))
    return _train(setup, run, reporter, resume=True)


def _demonstrated(settings: PretrainSettings, given: Given, reporter: Reporter) -> PretrainSettings:
    """Return the settings, with a method whose layers help with few digits where neither method nor data is given."""
    if given & {"objective", "data"}:
        return settings
    reporter.line(
        f"no method and no data given: {DEMONSTRATED} on {settings.data}; reuse pretrain --list has the others"
    )
    return replace(settings, objective=DEMONSTRATED)


def _train(setup: PretrainSetup, run: RunFolder, reporter: Reporter, *, resume: bool) -> Result:
    settings, data, trained = setup.settings, setup.data, setup.trained
    for line in describe_spread(trained):
        reporter.line(line)
    gallery = _gallery(setup, run, reporter)
    if gallery is not None and not resume:
        gallery.draw("map_before")
    reporter.line(f"pretraining {setup.recipe.spec} as {objective_name(settings.objective)} on {data.name}")
    stages, probe = setup.objective.stages(trained, settings.epochs), probe_of(setup)
    with interruptible(run):
        if len(stages) > 1:
            progress = _train_in_stages(setup, stages, run, reporter, probe)
        else:
            progress = _train_at_once(setup, run, reporter, probe, resume=resume)
        collapse = probe.advice() if probe is not None else ""
        if collapse:
            reporter.warning(collapse)
        save_weights(run, setup.encoder)
        for name, child in _beside(setup).items():
            save_tensors(run.path / f"{name}.safetensors", savable_tensors(child))
    if gallery is not None:
        gallery.draw("map_after", setup.objective, setup.trained)
    done = progress.done
    assert done is not None
    seconds = {**setup.seconds, **progress.seconds, "total": time.perf_counter() - setup.started}
    result = Result(
        run=str(run.path),
        source=None,
        settings=plain_settings(settings),
        epochs=done.epochs,
        best_epoch=done.best_epoch,
        sizes=data.sizes,
        metrics=done.metrics,
        seconds={name: round(value, 4) for name, value in seconds.items()},
        fresh=tuple(name for name, _ in setup.encoder.named_children()),
        cache=progress.cache,
        phases=tuple(progress.phases),
        notes=(data.summary, *data.notes, *setup.notes, *filter(None, [done.failure, collapse])),
    )
    run.write_result(result.to_dict())
    return result


def _train_at_once(
    setup: PretrainSetup, run: RunFolder, reporter: Reporter, probe: FeatureProbe | None, *, resume: bool
) -> StageProgress:
    """Train everything in all epochs."""
    settings, trained, objective = setup.settings, setup.trained, setup.objective
    data = objective.prepare(setup.data, lambda model: outputs_of(model, setup.data, setup.compute, settings))
    feed = feed_inputs(trained, data, setup.compute)
    feed.splits = {name: objective.arrange(*rows, name) for name, rows in feed.splits.items()}
    feed.network = spread(trained, feed.network, settings.parallel)
    trainer = make_trainer(trained, objective, feed, settings, data)
    stopping = make_stopping(objective, settings, ERROR if settings.stop_on else None)
    epochs = EpochRange(settings.epochs)
    done = train(trainer, feed, settings, run, reporter, resume=resume, stopping=stopping, epochs=epochs, probe=probe)
    seconds = {**feed.seconds, "train": done.seconds}
    return StageProgress(done=done, seconds=seconds, phases=[{"epoch": 1, "frozen": []}])


def _train_in_stages(
    setup: PretrainSetup,
    stages: Sequence[TrainingStage],
    run: RunFolder,
    reporter: Reporter,
    probe: FeatureProbe | None,
) -> StageProgress:
    """Train one stage after the other, from where the run is; what it has begun stays as it was laid out."""
    progress, manifest = StageProgress(), run.manifest()
    begun = {phase.stage: phase.epoch for phase in manifest.phases}
    phases = lay_out({stage.name: stage.epochs for stage in stages}, setup.settings.epochs, begun)
    left = list(remaining(phases, run))
    progress.phases += [phase.to_dict() for phase in manifest.phases if phase.epoch < left[0].first]
    for stage in stages[-len(left) :]:
        train_stage(setup, stage, phases, progress, run, reporter, probe)
    return progress


def _new_run(setup: PretrainSetup, out: str | Path | None, held: ExitStack) -> RunFolder:
    run = RunFolder.begin("pretrain", out, held)
    save_start(run, setup.trained)
    run.write_settings("pretrain", plain_settings(setup.settings))
    run.write_manifest(_manifest(setup))
    return run


def _beside(setup: PretrainSetup) -> dict[str, nn.Module]:
    """Return what is trained beside the encoder: the other children of what the objective has built."""
    if setup.encoder is setup.trained:
        return {}
    children = setup.trained.named_children()
    return {name: child for name, child in children if child is not setup.encoder and savable_tensors(child)}


def _gallery(setup: PretrainSetup, run: RunFolder, reporter: Reporter) -> Gallery | None:
    """Return where pictures are drawn; None where there are none to draw."""
    is_single = not is_several(setup.data.train.inputs.layout)
    if not (setup.settings.pictures and is_single and len(setup.data.input_shape) == 3):
        return None
    if world_size() > 1:
        reporter.line("no pictures are drawn where several processes train together: one of them has not all layers")
        return None
    return Gallery(run, setup.data, setup.encoder, setup.compute)


def _manifest(setup: PretrainSetup) -> Manifest:
    data, labelled = setup.data, setup.objective.needs_labels and setup.encoder is setup.trained
    return Manifest(
        kind="pretrain",
        objective=objective_name(setup.settings.objective),
        task=data.task if labelled else None,
        classes=tuple(data.classes) if labelled else (),
        model=setup.recipe,
        data=data.name,
        preprocessing=data.preprocessing,
        target_scale=data.target_scale if labelled else None,
        rows=data_digests(data),
    )

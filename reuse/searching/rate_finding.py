"""`lr_find`: which learning rate to give a training, by a range test of exactly that training; nothing is written."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from reuse.errors import CutError, UsageError
from reuse.features.choosing import Upcoming
from reuse.features.cutting import cut_model, sample_rows
from reuse.features.feeding import feed_activations, feed_inputs
from reuse.features.lookup import key_rows, look_up, open_caches
from reuse.features.outputs import outputs_of
from reuse.features.planned import half_steps, plan_features
from reuse.paths import cache_folder
from reuse.reporting import Reporter
from reuse.settings.calling import Given, carried, takes_given
from reuse.settings.commands import FinetuneSettings, LrFindArguments, PretrainSettings
from reuse.settings.files import objective_name
from reuse.settings.setting import settings_of
from reuse.setup import finetuning, pretraining
from reuse.setup.tasks import new_task
from reuse.setup.trainers import make_trainer
from reuse.training.feeds import Feed
from reuse.training.parallel import take_part
from reuse.training.range_test import RateCurve, range_test
from reuse.training.threads import fitting_threads
from reuse.training.trainer import Trainer


@takes_given(LrFindArguments)
def lr_find(arguments: LrFindArguments, given: Given) -> RateCurve:
    """Build what `finetune`, or `pretrain`, would train, raise the rate step by step, and propose one.

    Returns:
        Rates, losses and the proposal, a tenth of the rate at which the loss turns.

    Raises:
        UsageError, DataError, RunError: as `finetune` and `pretrain`; or matplotlib is not installed.

    Example:
        >>> lr_find(objective="supervised", data="digits", model="mlp:100,50").proposal  # doctest: +SKIP
        0.0031
    """
    if arguments.plot is not None:
        check_matplotlib()
    reporter = take_part(arguments.reporter)
    if arguments.objective is None:
        _refuse_others(given, FinetuneSettings)
        trainer, feed = _of_finetuning(carried(arguments, given, FinetuneSettings), given, reporter)
    elif arguments.source is None:
        _refuse_others(given, PretrainSettings)
        trainer, feed = _of_pretraining(carried(arguments, given, PretrainSettings), reporter)
    else:
        name = objective_name(arguments.objective)
        raise UsageError(f"objective {name} is of a pretraining, which has no source: give one of the two")
    rows = feed.splits["train"]
    with fitting_threads(feed.network, trainer.model, rows[0], trainer.loop.batch_size, trainer.loop.precision):
        bounds: dict[str, Any] = {"lowest": arguments.lowest, "highest": arguments.highest, "steps": arguments.steps}
        tested = range_test(trainer, *rows, **bounds, reporter=reporter)
    if arguments.plot is not None:
        draw(tested, arguments.plot)
    return tested


def _refuse_others(given: Given, target: type[FinetuneSettings | PretrainSettings]) -> None:
    """Raise where a setting was given that the training of which the rate is sought has not."""
    other: type[FinetuneSettings | PretrainSettings] = FinetuneSettings
    instead = "a source and no objective"
    if target is FinetuneSettings:
        other, instead = PretrainSettings, "an objective"
    foreign = given & (settings_of(other).keys() - settings_of(target).keys()) - {"source", "objective"}
    for name in sorted(foreign):
        raise UsageError(
            f"{name} is a setting of `reuse {other.command}` and none of `reuse {target.command}`, whose rate is "
            f"sought: leave it out, or give {instead}"
        )


def draw(curve: RateCurve, path: str | Path) -> None:
    """Draw loss against rate into a picture, its kind by the name.

    Raises:
        UsageError: matplotlib is not installed, or the picture cannot be written.
    """
    check_matplotlib()
    from matplotlib.figure import Figure  # optional; without pyplot no window is ever opened

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.plot(curve.rates, curve.losses, linewidth=0.6, alpha=0.5, label="loss of each step")
    axes.plot(curve.rates, curve.smoothed, label="running mean")
    if curve.turn is not None and curve.proposal is not None:
        axes.axvline(curve.turn, linestyle=":", color="grey", label=f"turn {curve.turn:.2g}")
        axes.axvline(curve.proposal, color="black", label=f"proposal {curve.proposal:.2g}")
    axes.legend()
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be drawn: {error}") from error


def check_matplotlib() -> None:
    """Raise a UsageError where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401 - whether it is there
    except ImportError as error:
        raise UsageError(
            'matplotlib is not installed: pip install "torch-reuse[report]", or do without the plot'
        ) from error


def _of_finetuning(settings: FinetuneSettings, given: Given, reporter: Reporter) -> tuple[Trainer, Feed]:
    """Return what a fine-tuning would begin with; what frozen layers compute is read where all of it is cached."""
    task = new_task(settings, given, reporter, caches=False)
    setup = finetuning.set_up(task, reporter)
    feed = _from_cache(setup, reporter) or feed_inputs(setup.model, task.data, setup.compute)
    parts = setup.tuning_parts({}, 0.0)
    return make_trainer(setup.model, setup.objective, feed, task.settings, task.data, parts), feed


def _from_cache(setup: finetuning.FinetuneSetup, reporter: Reporter) -> Feed | None:
    """Return what frozen layers have computed of the rows where the cache holds all of it; else nothing is computed."""
    settings, data, compute = setup.task.settings, setup.task.data, setup.compute
    changed = settings.augment or settings.mixup or settings.cutmix
    if not setup.freezing.parameters or changed or not cache_folder(settings.cache_dir).is_dir():
        return None
    storing = replace(settings, cache_kind="disk")
    upcoming = Upcoming(1, partial(half_steps, setup.objective), settings.batch_size, comparable=False)
    try:
        parts = cut_model(setup.model, sample_rows(data, compute), hints=setup.task.hints)
        caches = open_caches(storing, data, compute, type(setup.model).__name__)
        if len(look_up(parts, key_rows(data, None), caches, None).missing):
            return None
        features = plan_features(setup.model, data, compute, storing, upcoming, hints=setup.task.hints)
    except CutError:
        return None
    if len(features.lookup.missing) or not features.plan.cache:
        return None
    reporter.line("what the frozen layers compute is cached: steps read it")
    return feed_activations(features, data, compute, reporter)


def _of_pretraining(settings: PretrainSettings, reporter: Reporter) -> tuple[Trainer, Feed]:
    """Return what a pretraining would begin with."""
    setup = pretraining.set_up(settings, reporter)
    data = setup.objective.prepare(
        setup.data, lambda model: outputs_of(model, setup.data, setup.compute, setup.settings)
    )
    feed = feed_inputs(setup.trained, data, setup.compute)
    feed.splits = {name: setup.objective.arrange(*rows, name) for name, rows in feed.splits.items()}
    return make_trainer(setup.trained, setup.objective, feed, setup.settings, data), feed

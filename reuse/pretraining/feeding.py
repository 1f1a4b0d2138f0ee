"""The feed of a stage: what the layers below it give of each row, cached where that pays, or the inputs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from reuse.data.rows import Batch
from reuse.distributed import from_main, world_size
from reuse.features.choosing import Upcoming
from reuse.features.feeding import feed_activations, feed_computed, feed_inputs, too_large
from reuse.features.planned import PlannedFeatures, describe_plan, half_steps, plan_features
from reuse.hints import Hints
from reuse.layers.boundary import bounded
from reuse.layers.freezing import hold
from reuse.objectives.objective import TrainingStage
from reuse.paths import cache_folder
from reuse.planning.measuring import unchanged
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import CacheChoice
from reuse.runs.phases import record_cache
from reuse.setup.pretraining import PretrainSetup
from reuse.training.feeds import Feed
from reuse.training.phases import Phase


@dataclass(frozen=True)
class StageNeeds:
    """The things that the feed of a stage is made from.

    Attributes:
        setup: the pretraining, its module frozen as in the stage.
        stage: that is trained.
        phase: its epochs.
    """

    setup: PretrainSetup
    stage: TrainingStage
    phase: Phase


def feed_stage(
    needs: StageNeeds, before: Feed | None, run: RunFolder, reporter: Reporter
) -> tuple[Feed, PlannedFeatures | None]:
    """Return what a stage reads, and the features behind it, where there are layers below.

    Args:
        needs: what it is made from.
        before: what the stage before read; what it holds in memory spares layers.
        run: which keeps how its stages are cached.
        reporter: told of the plan and of what is computed.
    """
    setup, stage = needs.setup, needs.stage
    if stage.below is None:
        return feed_inputs(stage.network, setup.data, setup.compute), None
    if setup.settings.cache:
        feed, features = _feed_planned(needs, before, run, reporter)
    else:
        features = _plan(needs, CacheChoice("none"))
        feed = feed_computed(features, setup.data, setup.compute)
    feed.network = stage.network  # the rows are what the layers below give: nothing of these is left to compute
    return feed, features


def _feed_planned(
    needs: StageNeeds, before: Feed | None, run: RunFolder, reporter: Reporter
) -> tuple[Feed, PlannedFeatures]:
    """Return activations as the plan has it, or as the run began the stage."""
    data, compute, first = needs.setup.data, needs.setup.compute, needs.phase.first
    began = from_main(lambda: run.manifest().cached.get(first))
    windowed = None if began is None else bool(began.windowed)
    features = _plan(needs, began)
    for line in describe_plan(features):
        reporter.line(line)
    if windowed is None and world_size() > 1:
        windowed = from_main(lambda: too_large(features, compute))  # all draw the same order
    choice = _choice(features)
    if choice.kind == "none":
        feed = feed_computed(features, data, compute)
    else:
        feed = feed_activations(features, data, compute, reporter, windowed, before)
    record_cache(run, first, replace(choice, windowed=feed.windowed))
    return feed, features


def _plan(needs: StageNeeds, began: CacheChoice | None) -> PlannedFeatures:
    """Cut off the layers below a stage, behind the last of them, look up what is cached, and plan.

    Args:
        needs: of the stage.
        began: how it was cached when it began; None: it begins now.
    """
    setup, stage, phase = needs.setup, needs.stage, needs.phase
    settings = setup.settings
    assert stage.below is not None
    model = bounded(dict(stage.below.named_children()), next(setup.trained.parameters()))
    hold(model)
    hints = Hints(cache_folder(settings.cache_dir), settings.cache_kind != "memory") if settings.cache else None

    def stepping(below: Callable[..., Any]) -> Callable[[Batch], object]:
        step = half_steps(stage.objective, stage.network)
        return lambda batch: step(Batch((below(*batch.inputs).detach(),), batch.targets))

    def planned(began: CacheChoice | None) -> PlannedFeatures:
        epochs = phase.last - phase.first + 1
        upcoming = Upcoming(epochs, stepping, settings.batch_size, comparable=False, began=began)
        return plan_features(model, setup.data, setup.compute, settings, upcoming, hints=hints)

    with unchanged(stage.network):
        if world_size() > 1 and began is None:
            began = from_main(lambda: _choice(planned(None)))  # one choice for all processes
        features = planned(began)
        return planned(_choice(features)) if features.plan.behind else features


def _choice(features: PlannedFeatures) -> CacheChoice:
    """Return where a plan keeps the outputs of the last layer below; less that lies before it is of no use here."""
    return CacheChoice(features.plan.kind if features.plan.cache else "none")

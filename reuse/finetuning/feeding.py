"""The feed of a phase of a fine-tuning: activations as its plan has it, or the inputs."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from torch import nn

from reuse.augmenting.views import Viewing, make_viewing, read_views
from reuse.data.rows import Batch
from reuse.distributed import from_main, world_size
from reuse.errors import CutError, UsageError
from reuse.features.choosing import Upcoming
from reuse.features.feeding import feed_activations, feed_computed, feed_inputs, too_large
from reuse.features.planned import PlannedFeatures, describe_plan, half_steps, plan_features
from reuse.finetuning.foretelling import seconds_beside
from reuse.layers.freezing import Freezing
from reuse.layers.suffix import Suffix
from reuse.planning.plan import Plan
from reuse.reporting import Reporter
from reuse.runs.checkpoints import newest_epoch
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import CacheChoice
from reuse.runs.phases import record_cache
from reuse.settings.commands import FinetuneSettings
from reuse.setup.finetuning import FinetuneSetup
from reuse.setup.trainers import make_trainer
from reuse.training.feeds import Feed
from reuse.training.phases import Phase

AUGMENTED = "augmentation gives the frozen layers other inputs each epoch; views=5 stores five versions of each row"
"""The reason why nothing is cached where training inputs are changed at random."""


@dataclass(frozen=True)
class PhaseNeeds:
    """The things that the feed of a phase is made from.

    Attributes:
        setup: the fine-tuning, its model frozen as in the phase.
        phase: the epochs that are to be trained.
        later: for each later phase that may read a cache, the frozen parameters that will train by then.
    """

    setup: FinetuneSetup
    phase: Phase
    later: Sequence[Collection[nn.Parameter]] = ()

    @cached_property
    def viewing(self) -> Viewing | None:
        """Versions of the training rows that the epochs of the phase read."""
        settings, data = self.setup.task.settings, self.setup.task.data
        views = read_views(settings.augment, settings, alternate=settings.alternate)
        return make_viewing(views, settings.augment, data, settings.seed, (self.phase.first, self.phase.last))


def feed_phase(
    needs: PhaseNeeds, freezing: Freezing, run: RunFolder, reporter: Reporter, before: Feed | None
) -> tuple[Feed, PlannedFeatures | None, str]:
    """Return what the trainer reads, the features behind it, and why nothing is cached where that is so.

    Args:
        needs: what the feed is made from.
        freezing: what is frozen in the phase.
        run: which keeps how its phases are cached.
        reporter: told of the plan and of what is computed.
        before: what the phase before read; what it holds in memory spares layers.
    """
    setup, phase = needs.setup, needs.phase
    settings, data, compute = setup.task.settings, setup.task.data, setup.compute
    first = min(max(phase.first, newest_epoch(run) + 1), phase.last)  # of those that are left
    needs = replace(needs, phase=replace(phase, first=first))
    inputs = partial(feed_inputs, setup.model, data, compute, needs.viewing)
    if settings.feature_noise and not freezing.parameters:
        reporter.line(f"nothing is frozen from epoch {phase.first} on: feature_noise ends")
    if not freezing.parameters or not (settings.cache or changes_features(settings)):
        return inputs(), None, ""
    began = _as_it_began(run, phase.first, settings)
    windowed = None if began is None else bool(began.windowed)
    try:
        if began is None and world_size() > 1:
            began = from_main(lambda: _choice(plan_phase_features(needs).plan))  # one choice for all processes
        features = plan_phase_features(needs, began)
    except CutError as error:
        if settings.feature_noise:
            raise UsageError(f"feature_noise needs what frozen layers compute: {error}") from error
        why_not = f"trained without a cache: {error}"
        reporter.line(why_not)
        return inputs(), None, why_not
    if not settings.cache:
        return feed_computed(features, data, compute), None, ""
    for line in describe_plan(features):
        reporter.line(line)
    choice, why_not = _choice(features.plan), ""
    if choice.kind == "none":
        feed = feed_computed(features, data, compute) if changes_features(settings) else inputs()
        feed.seconds.update(features.seconds)
        why_not = f"trained without a cache: {features.plan.reason or 'as it began'}"
    else:
        if windowed is None and world_size() > 1:
            windowed = from_main(lambda: too_large(features, compute))  # all draw the same order
        feed = feed_activations(features, data, compute, reporter, windowed, before, _once(setup))
    record_cache(run, phase.first, replace(choice, windowed=feed.windowed))
    return feed, features, why_not


def plan_phase_features(needs: PhaseNeeds, began: CacheChoice | None = None) -> PlannedFeatures:
    """Cut a model for the epochs of a phase, look up what is cached, and plan; computes no activations yet.

    Args:
        needs: what the feed is made from.
        began: how the phase was cached when it began, where it is resumed.

    Raises:
        CutError: the model cannot be cut, or what is done to the inputs leaves nothing to cache.
    """
    setup, viewing = needs.setup, needs.viewing
    settings, model, data = setup.task.settings, setup.model, setup.task.data
    if settings.augment and viewing is None:
        raise CutError(AUGMENTED)
    # Mixing costs next to nothing, and cutmix is refused for flat features below.
    unmixed = replace(settings, mixup=0.0, cutmix=0.0)

    def stepping(network: nn.Module) -> Callable[[Batch], object]:
        behind = isinstance(network, Suffix)
        feed = Feed(network, {}, features=behind, viewed=behind)
        parts = setup.tuning_parts({}, settings.feature_noise)
        return make_trainer(model, setup.objective, feed, unmixed, data, parts).step

    alone = world_size() == 1  # measured steps would wait for those of other processes, which measure others
    upcoming = Upcoming(
        epochs=needs.phase.last - needs.phase.first + 1,
        stepping=stepping if alone else partial(half_steps, setup.objective),
        batch_size=settings.batch_size,
        comparable=alone,
        later=needs.later,
        began=began,
        optional=began is None and settings.cache_kind == "auto" and not changes_features(settings),
        tally=setup.objective.tally,
    )
    features = plan_features(model, data, setup.compute, settings, upcoming, viewing, setup.task.hints)
    if settings.cutmix and [len(tensor.shape) for tensor in features.stored] != [3]:
        raise CutError("cutmix pastes patches of maps, and what the frozen layers compute is none: mixup takes it too")
    if needs.phase.last != setup.phases[0].last:
        return features  # what was said of the whole at the beginning stands
    elapsed, beside = time.perf_counter() - setup.task.started, seconds_beside(setup, features.plan)
    return replace(features, plan=replace(features.plan, elapsed=elapsed, beside=beside))


def _once(setup: FinetuneSetup) -> bool:
    """Return whether nobody asks for inputs once their activations are computed: no later phase, nor a comparison."""
    settings = setup.task.settings
    return not (len(setup.phases) > 1 or settings.compare or settings.auto_freeze or setup.task.compared)


def changes_features(settings: FinetuneSettings) -> bool:
    """Return whether something is done to what frozen layers have computed, with a cache and without."""
    return bool(settings.mixup or settings.cutmix or settings.feature_noise)


def _choice(plan: Plan) -> CacheChoice:
    """Return what a plan comes to, as a run keeps it."""
    return CacheChoice(plan.kind, tuple(plan.behind)) if plan.cache else CacheChoice("none")


def _as_it_began(run: RunFolder, epoch: int, settings: FinetuneSettings) -> CacheChoice | None:
    """Return how the phase from an epoch on was cached when it began; a plan might turn out otherwise another time."""
    kept = from_main(lambda: run.manifest().cached.get(epoch))
    return kept if settings.cache else CacheChoice("none")

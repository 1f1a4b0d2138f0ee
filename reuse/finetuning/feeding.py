"""What a phase of a fine-tuning reads: activations as its plan has it, or the inputs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from torch import Tensor, nn

from reuse.augmenting.views import Viewing, make_viewing
from reuse.data.rows import Batch
from reuse.devices import Compute
from reuse.distributed import from_main, world_size
from reuse.errors import CutError, UsageError
from reuse.features.feeding import Feed, feed_activations, feed_computed, feed_inputs, too_large
from reuse.features.preparing import CACHE_KINDS, CacheSettings, Prepared, describe_plan, prepare
from reuse.layers.freezing import Freezing
from reuse.objectives.objective import Objective
from reuse.planning.plan import Plan
from reuse.reporting import Reporter
from reuse.runs.checkpoints import newest_epoch
from reuse.runs.folder import RunFolder
from reuse.setup.finetuning import Task
from reuse.setup.trainers import make_trainer
from reuse.training.phases import Phase

AUGMENTED = "augmentation gives the frozen layers other inputs each epoch; views=5 stores five versions of each row"
"""Why nothing is cached where training inputs are changed at random."""

ON_FEATURES = ("mixup", "cutmix", "feature_noise")
"""What is done to what frozen layers have computed, with a cache and without."""


@dataclass(frozen=True)
class Given:
    """What a phase begins with.

    Attributes:
        task: what is worked on.
        model: frozen as in the phase.
        objective: what is minimised.
        compute: where and in which types.
        phase: the epochs that are to be trained.
        later: for each later phase that may read a cache, the frozen parameters that will train by then.
        anchors: what `l2_sp` pulls towards, by name.
    """

    task: Task
    model: nn.Module
    objective: Objective
    compute: Compute
    phase: Phase
    later: Sequence[Collection[nn.Parameter]] = ()
    anchors: Mapping[str, Tensor] | None = None

    @cached_property
    def viewing(self) -> Viewing | None:
        """Versions of the training rows that the epochs of the phase read."""
        return make_viewing(self.task.settings, self.task.data, (self.phase.first, self.phase.last))


def feed_phase(
    given: Given, freezing: Freezing, run: RunFolder, reporter: Reporter, before: Feed | None
) -> tuple[Feed, Prepared | None, str]:
    """Return what the trainer reads, the cut and plan behind it, and why nothing is cached where that is so.

    Args:
        given: what the phase begins with.
        freezing: what is frozen in the phase.
        run: which keeps how its phases are cached.
        reporter: told of the plan and of what is computed.
        before: what the phase before read; what it holds in memory spares layers.
    """
    settings, phase = given.task.settings, given.phase
    first = min(max(phase.first, newest_epoch(run) + 1), phase.last)  # of those that are left
    given = replace(given, phase=replace(phase, first=first))
    inputs = partial(feed_inputs, given.model, given.task.data, given.compute, given.viewing)
    on_features = any(settings[name] for name in ON_FEATURES)
    if settings["feature_noise"] and not freezing.parameters:
        reporter.line(f"nothing is frozen from epoch {phase.first} on: feature_noise ends")
    if not freezing.parameters or not (settings["cache"] or on_features):
        return inputs(), None, ""
    # The plan is measured, so it may turn out otherwise another time; what a run began with it goes on with.
    chosen = from_main(lambda: run.manifest().get("cached", {}))
    began = _as_it_began(chosen.get(str(phase.first)) if settings["cache"] else False)
    windowed = None if began is None else began.get("windowed", False)
    try:
        if began is None and world_size() > 1:
            began = from_main(lambda: _choice(prepare_phase(given).plan))  # one choice for all processes
        prepared = prepare_phase(given, began)
    except CutError as error:
        if settings["feature_noise"]:
            raise UsageError(f"feature_noise needs what frozen layers compute: {error}") from error
        why_not = f"trained without a cache: {error}"
        reporter.line(why_not)
        return inputs(), None, why_not
    if not settings["cache"]:
        return feed_computed(prepared, given.task.data, given.compute), None, ""
    for line in describe_plan(prepared):
        reporter.line(line)
    choice, why_not = _choice(prepared.plan), ""
    if choice["kind"] == "none":
        feed = feed_computed(prepared, given.task.data, given.compute) if on_features else inputs()
        feed.seconds.update(prepared.seconds)
        why_not = f"trained without a cache: {prepared.plan.reason or 'as it began'}"
    else:
        feed = _cached(given, prepared, reporter, windowed, before)
    run.update_manifest(cached={**chosen, str(phase.first): {**choice, "windowed": feed.windowed}})
    return feed, prepared, why_not


def _cached(given: Given, prepared: Prepared, reporter: Reporter, windowed: bool | None, before: Feed | None) -> Feed:
    if windowed is None and world_size() > 1:
        windowed = from_main(lambda: too_large(prepared, given.compute))  # all draw the same order
    return feed_activations(prepared, given.task.data, given.compute, reporter, windowed, before)


def _choice(plan: Plan) -> dict[str, Any]:
    """Return what a plan comes to, as a run keeps it."""
    return {"kind": plan.kind, "behind": list(plan.behind)} if plan.cache else {"kind": "none", "behind": []}


def _as_it_began(choice: Any) -> dict[str, Any] | None:
    """Return how a phase of a run was cached; older runs say only whether it was."""
    if isinstance(choice, bool):
        return {"kind": "disk" if choice else "none", "behind": []}
    return dict(choice) if choice else None


def prepare_phase(given: Given, began: Mapping[str, Any] | None = None) -> Prepared:
    """Cut a model for the epochs of a phase, and plan its cache; computes no activations yet.

    Args:
        given: what the phase begins with.
        began: how the phase was cached when it began, where it is resumed.

    Raises:
        CutError: the model cannot be cut, or what is done to the inputs leaves nothing to cache.
    """
    settings, model, viewing = given.task.settings, given.model, given.viewing
    if settings["augment"] and viewing is None:
        raise CutError(AUGMENTED)

    unmixed = {**settings, "mixup": 0.0, "cutmix": 0.0}  # what a frontier may be too flat for, and next to nothing

    def stepping(network: nn.Module) -> Callable[[Batch], object]:
        feed = Feed(network, {}, features=network is not model, viewed=network is not model)
        return make_trainer(model, given.objective, feed, unmixed, given.task.data, given.anchors).step

    alone = world_size() == 1  # measured steps would wait for those of other processes, which measure others
    prepared = prepare(
        model,
        given.task.data,
        given.objective,
        given.compute,
        cache_settings(given.task),
        given.phase.last - given.phase.first + 1,
        given.later,
        stepping=stepping if alone else None,
        batch_size=settings["batch_size"],
        began=began,
        viewing=viewing,
    )
    if settings["cutmix"] and [len(tensor.shape) for tensor in prepared.stored] != [3]:
        raise CutError("cutmix pastes patches of maps, and what the frozen layers compute is none: mixup takes it too")
    return prepared


def cache_settings(task: Task) -> CacheSettings:
    """Return what the settings of a task say about the cache."""
    settings = task.settings
    kind = CACHE_KINDS[settings["cache_kind"]]
    places = (settings["cache_dir"], settings["cache_dtype"], settings["cache_budget"], kind)
    return CacheSettings(settings["cache"], *places)

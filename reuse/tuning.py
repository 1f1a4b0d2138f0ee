"""One fine-tuning, from a task to a recorded run."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from reuse.beginning import Beginning, begin
from reuse.compute import Compute
from reuse.distributed import from_main, world_size
from reuse.equipping import make_trainer
from reuse.errors import CutError, UsageError
from reuse.feeding import Feed, feed_activations, feed_computed, feed_inputs, too_large
from reuse.layers.freezing import Freezing, freeze, frozen, unfreeze
from reuse.layers.selecting import select
from reuse.objectives.objective import Batch, Objective
from reuse.phase_records import note_phase, remaining, settle_after, settle_as_before
from reuse.phases import Phase
from reuse.planning.plan import Plan
from reuse.preparing import CACHE_KINDS, CacheSettings, Prepared, describe_plan, prepare
from reuse.results import Result
from reuse.running import (
    Trained,
    data_digests,
    make_stopping,
    train,
)
from reuse.runs.checkpoints import (
    ANCHORS,
    keep_still,
    load_newest,
    savable_tensors,
    save_start,
)
from reuse.runs.fitting import interruptible
from reuse.runs.folder import WEIGHTS, RunFolder
from reuse.runs.reporting import Reporter
from reuse.runs.tensor_files import save_tensors
from reuse.tasks import Task
from reuse.training.parallel import describe_spread, spread
from reuse.training.state import live_tensors
from reuse.training.stopping import EarlyStopping
from reuse.training.trainer import Trainer
from reuse.viewing import make_viewing

AUGMENTED = (
    "augmentation gives the frozen layers other inputs each epoch; views=5 would store five versions of each row"
)
"""Why nothing is cached where training inputs are changed at random."""

ON_FEATURES = ("mixup", "cutmix", "feature_noise")
"""What is done to what frozen layers have computed, with a cache and without."""


def tune(task: Task, reporter: Reporter, *, run: RunFolder | None = None, out: str | Path | None = None) -> Result:
    """Build, restore, freeze, and in each phase cut, cache and train; record.

    Args:
        task: what to work on.
        reporter: told of lines and epochs.
        run: to go on with; None begins a new one.
        out: the folder of a new run; None chooses one.
    """
    settings, resume = task.settings, run is not None
    if settings["unfreeze"] and world_size() > 1 and settings["parallel"] == "fsdp":
        raise UsageError("unfreezing needs a model that is whole, and fsdp divides it once: choose parallel=ddp")
    begun = begin(task, reporter, run)  # what cannot be taken is refused before anything is written
    model, phases = begun.model, begun.phases
    run = _resumed_run(run, task, model) if run else from_main(lambda: _new_run(task, begun, out))
    for line in describe_spread(model):
        reporter.line(line)
    tuned = _Tuned(begun.objective, begun.compute, make_stopping(begun.objective, settings), begun.anchors, resume)
    with interruptible(run):
        if resume:
            settle_as_before(phases, run, begun.objective, settings)
        for phase in remaining(phases, run):
            trainer = _train_phase(task, model, tuned, phase, phases, run, reporter)
            if tuned.goes_on and trainer.settling.settled:
                settle_after(trainer.epoch, trainer.settling.settled, phases, run)
        save_tensors(run.path / WEIGHTS, savable_tensors(model))
    result = from_main(lambda: _result(task, run, begun.freezing, tuned))  # it reads what the first process has written
    run.write_result(result.to_dict())
    return result


@dataclass
class _Tuned:
    """What the phases of a fine-tuning hand on.

    Attributes:
        objective: what is minimised.
        compute: where and in which types.
        stopping: decides when to stop, and holds the best weights.
        anchors: what `l2_sp` pulls towards.
        resume: whether the next phase goes on from a checkpoint.
        trainer: of the phase before, None before the first.
        feed: of the phase before, None before the first.
        seconds: of all feeds together, by what took them.
        cache: what the first cache gave.
        prepared: the first cut.
        done: what the last phase came to.
        notes: why nothing was cached.
        since: number of the first epoch of the parameters that began to train later than others, by name.
        rested: names of the tensors that trained at first and rest now, as their layers have settled.
    """

    objective: Objective
    compute: Compute
    stopping: EarlyStopping
    anchors: dict[str, Tensor]
    resume: bool
    trainer: Trainer | None = None
    feed: Feed | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    cache: dict[str, Any] | None = None
    prepared: Prepared | None = None
    done: Trained | None = None
    notes: list[str] = field(default_factory=list)
    since: dict[str, int] = field(default_factory=dict)
    rested: set[str] = field(default_factory=set)

    @property
    def goes_on(self) -> bool:
        """Whether another phase follows."""
        return self.done is not None and self.done.fitted.goes_on


def _train_phase(
    task: Task, model: nn.Module, tuned: _Tuned, phase: Phase, phases: list[Phase], run: RunFolder, reporter: Reporter
) -> Trainer:
    """Train the epochs of a phase, on from where the phase before left off: its optimizer's state goes with it."""
    freezing = _begin(model, phase, phases, tuned, run, reporter)
    later = training_later(model, phases[phases.index(phase) + 1 :])
    feed, prepared, why_not = _feed(model, task, tuned, freezing, phase, later, run, reporter)
    if task.settings["views"] and not feed.viewed:
        reporter.line("no views: nothing is cached, so that augment changes the rows anew in each epoch")
    note_phase(run, phase, freezing, prepared)
    feed.network = spread(model, feed.network, task.settings["parallel"])
    trainer = make_trainer(model, tuned.objective, feed, task.settings, task.data, tuned.anchors, tuned.since)
    if tuned.trainer is not None:
        trainer.load_state_dict(tuned.trainer.state_dict())
    until = phase.last if phase is not phases[-1] else None
    inputs = partial(feed_inputs, model, task.data, tuned.compute) if tuned.rested and feed.cache else None
    done = train(
        trainer,
        feed,
        task.settings,
        run,
        reporter,
        tuned.resume,
        stopping=tuned.stopping,
        since=1 if phase.settled else phase.first,  # what comes to rest is no reason to wait anew
        until=until,
        rested=tuned.rested,
        inputs=inputs,
    )
    tuned.cache, tuned.prepared = tuned.cache or feed.cache, tuned.prepared or prepared
    tuned.trainer, tuned.feed, tuned.done, tuned.resume = trainer, feed, done, False
    for name, value in {**feed.seconds, "train": done.seconds}.items():
        tuned.seconds[name] = tuned.seconds.get(name, 0.0) + value
    tuned.notes.extend([why_not] if why_not else [])
    return trainer


def _begin(
    model: nn.Module, phase: Phase, phases: list[Phase], tuned: _Tuned, run: RunFolder, reporter: Reporter
) -> Freezing:
    """Freeze and unfreeze for a phase, as for its predecessors, which a resumed run has not done yet."""
    freezing = frozen(model)
    for earlier in phases[: phases.index(phase) + 1]:
        if earlier.unfrozen:
            unfreeze(model, earlier.unfrozen)
            before, freezing = freezing, frozen(model)
            tuned.since.update(dict.fromkeys(set(before.parameters) - set(freezing.parameters), earlier.first))
        if earlier.settled:
            live = live_tensors(model).keys()
            freezing = freeze(model, list(earlier.settled))
            tuned.rested |= live - live_tensors(model).keys()
    if phase.settled:
        keep_still(run, model)
        reporter.line(f"from epoch {phase.first} on {_describe_settled(phase.settled)}")
    if phase.unfrozen:
        still = f"; still frozen: {', '.join(freezing.layers)}" if freezing.layers else ""
        reporter.line(f"from epoch {phase.first} on {', '.join(phase.unfrozen)} trains too{still}")
    return freezing


def _describe_settled(settled: Mapping[str, float]) -> str:
    verb, whose = ("is", "its") if len(settled) == 1 else ("are", "their")
    changes = ", ".join(f"{100 * change:.2g} %" for change in settled.values())
    return f"{', '.join(settled)} {verb} frozen: {whose} gradients change least (Δ {changes})"


def training_later(model: nn.Module, phases: Sequence[Phase]) -> list[list[nn.Parameter]]:
    """Return for each of the phases to come what will have been unfrozen by then; short ones read no cache."""
    patterns: list[str] = []
    training = []
    for phase in phases:
        patterns += phase.unfrozen
        if phase.last > phase.first:
            training.append([model.get_parameter(name) for name in select(model, patterns).parameters])
    return training


def _feed(
    model: nn.Module,
    task: Task,
    tuned: _Tuned,
    freezing: Freezing,
    phase: Phase,
    later: Sequence[Collection[nn.Parameter]],
    run: RunFolder,
    reporter: Reporter,
) -> tuple[Feed, Prepared | None, str]:
    """Return what the trainer reads, the cut and plan behind it, and why nothing is cached where that is so."""
    data, compute, settings = task.data, tuned.compute, task.settings
    changed = [name for name in ON_FEATURES if settings[name]]
    if not freezing.parameters or not (settings["cache"] or changed):
        return feed_inputs(model, data, compute), None, ""
    # The plan is measured, so it may turn out otherwise another time; what a run began with it goes on with.
    chosen = from_main(lambda: run.manifest().get("cached", {}))
    began = _as_it_began(chosen.get(str(phase.first)) if settings["cache"] else False)
    windowed = None if began is None else began.get("windowed", False)
    given = (task, model, tuned.objective, compute, phase, later, tuned.anchors)
    try:
        if began is None and world_size() > 1:
            began = from_main(lambda: _choice(prepare_phase(*given).plan))  # one choice for all processes
        prepared = prepare_phase(*given, began)
    except CutError as error:
        if settings["feature_noise"]:
            raise UsageError(f"feature_noise needs what frozen layers compute: {error}") from error
        why_not = f"trained without a cache: {error}"
        reporter.line(why_not)
        return feed_inputs(model, data, compute), None, why_not
    if not settings["cache"]:
        return feed_computed(prepared, data, compute), None, ""  # as ever without a cache, but for what is mixed
    for line in describe_plan(prepared):
        reporter.line(line)
    choice = _choice(prepared.plan)
    if choice["kind"] == "none":
        run.update_manifest(cached={**chosen, str(phase.first): choice})
        feed = feed_computed(prepared, data, compute) if changed else feed_inputs(model, data, compute)
        feed.seconds.update(prepared.seconds)
        return feed, prepared, f"trained without a cache: {prepared.plan.reason or 'as it began'}"
    if windowed is None and world_size() > 1:
        windowed = from_main(lambda: too_large(prepared, compute))  # all draw the same order
    feed = feed_activations(prepared, data, compute, reporter, windowed, tuned.feed)
    run.update_manifest(cached={**chosen, str(phase.first): {**choice, "windowed": feed.windowed}})
    return feed, prepared, ""


def _choice(plan: Plan) -> dict[str, Any]:
    """Return what a plan comes to, as a run keeps it."""
    return {"kind": plan.kind, "behind": list(plan.behind)} if plan.cache else {"kind": "none", "behind": []}


def _as_it_began(choice: Any) -> dict[str, Any] | None:
    """Return how a phase of a run was cached; older runs say only whether it was."""
    if isinstance(choice, bool):
        return {"kind": "disk" if choice else "none", "behind": []}
    return dict(choice) if choice else None


def prepare_phase(
    task: Task,
    model: nn.Module,
    objective: Objective,
    compute: Compute,
    phase: Phase,
    later: Sequence[Collection[nn.Parameter]] = (),
    anchors: Mapping[str, Tensor] | None = None,
    began: Mapping[str, Any] | None = None,
) -> Prepared:
    """Cut a model for the epochs of a phase, and plan its cache; computes no activations yet.

    Args:
        task: what is worked on.
        model: frozen as in the phase.
        objective: what is minimised.
        compute: where and in which types.
        phase: what is trained.
        later: for each later phase that may read a cache, the frozen parameters that will train by then.
        anchors: what `l2_sp` pulls towards, by name.
        began: how the phase was cached when it began, where it is resumed.

    Raises:
        CutError: the model cannot be cut, or what is done to the inputs leaves nothing to cache.
    """
    settings, data = task.settings, task.data
    viewing = make_viewing(settings, data, (phase.first, phase.last))
    if settings["augment"] and viewing is None:
        raise CutError(AUGMENTED)

    unmixed = {**settings, "mixup": 0.0, "cutmix": 0.0}  # what a frontier may be too flat for, and next to nothing

    def stepping(network: nn.Module) -> Callable[[Batch], object]:
        feed = Feed(network, {}, features=network is not model, viewed=network is not model)
        return make_trainer(model, objective, feed, unmixed, data, anchors).step

    alone = world_size() == 1  # measured steps would wait for those of other processes, which measure others
    prepared = prepare(
        model,
        data,
        objective,
        compute,
        cache_settings(task),
        phase.last - phase.first + 1,
        later,
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


def _resumed_run(run: RunFolder, task: Task, model: nn.Module) -> RunFolder:
    """Put the model back as it was and note the settings that go on."""
    load_newest(run, model)
    run.write_settings("finetune", task.settings)
    return run


def _new_run(task: Task, begun: Beginning, out: str | Path | None) -> RunFolder:
    run = RunFolder.create("finetune", out)
    save_start(run, begun.model)
    if begun.anchors:
        save_tensors(run.path / ANCHORS, begun.anchors)
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
            "restored": list(begun.origins.restored),
            "fresh": list(begun.origins.fresh),
            "rows": data_digests(task.data),
        }
    )
    return run


def _result(task: Task, run: RunFolder, freezing: Freezing, tuned: _Tuned) -> Result:
    assert tuned.done is not None
    prepared, fitted = tuned.prepared, tuned.done.fitted
    seconds = {"load": task.load_seconds, **tuned.seconds}
    seconds["total"] = time.perf_counter() - task.started
    began = run.manifest()
    return Result(
        run=str(run.path),
        source=task.settings["source"],
        settings=task.settings,
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        sizes=task.data.sizes,
        metrics=tuned.done.metrics,
        seconds={name: round(value, 4) for name, value in seconds.items()},
        frozen=freezing.layers,
        restored=tuple(began.get("restored", ())),
        fresh=tuple(began.get("fresh", ())),
        frontier=tuple(began["phases"][0]["frontier"]),
        cache=tuned.cache,
        phases=tuple(began["phases"]),
        plan=prepared.plan.to_dict() if prepared else None,
        notes=(*task.data.notes, *dict.fromkeys(tuned.notes)),
    )

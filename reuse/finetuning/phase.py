"""One fine-tuning, from a task to a recorded run."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from reuse.devices import Compute
from reuse.distributed import from_main, world_size
from reuse.errors import UsageError
from reuse.features.feeding import Feed, feed_inputs
from reuse.features.preparing import Prepared
from reuse.finetuning.feeding import Given, feed_phase
from reuse.layers.freezing import Freezing, freeze, frozen, unfreeze
from reuse.layers.selecting import select
from reuse.objectives.objective import Objective
from reuse.reporting import Reporter
from reuse.runs.checkpoints import (
    ANCHORS,
    keep_still,
    load_newest,
    savable_tensors,
    save_start,
)
from reuse.runs.fitting import interruptible
from reuse.runs.folder import WEIGHTS, RunFolder
from reuse.runs.phases import note_phase, remaining, settle_after, settle_as_before
from reuse.runs.results import Result
from reuse.runs.tensor_files import save_tensors
from reuse.setup.beginning import Beginning, begin
from reuse.setup.finetuning import Task, describe_run
from reuse.setup.running import (
    Trained,
    data_digests,
    make_stopping,
    train,
)
from reuse.setup.trainers import make_trainer
from reuse.training.parallel import describe_spread, spread
from reuse.training.phases import Phase
from reuse.training.state import live_tensors
from reuse.training.stopping import EarlyStopping
from reuse.training.trainer import Trainer


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
    given = Given(task, model, tuned.objective, tuned.compute, phase, later, tuned.anchors)
    feed, prepared, why_not = feed_phase(given, freezing, run, reporter, tuned.feed)
    note_phase(run, phase, freezing, prepared)
    feed.network = spread(model, feed.network, task.settings["parallel"])
    trainer = make_trainer(model, tuned.objective, feed, task.settings, task.data, tuned.anchors, tuned.since)
    if tuned.trainer is not None:
        trainer.load_state_dict(tuned.trainer.state_dict())
    until = phase.last if phase is not phases[-1] else None
    inputs = partial(feed_inputs, model, task.data, tuned.compute) if tuned.rested and feed.cache else None
    try:
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
    finally:
        feed.close(reporter)  # what is frozen now may train in the next phase
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
            **describe_run(task, task.data, begun.origins),
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

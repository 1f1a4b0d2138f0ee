"""One phase of a fine-tuning: freezing, feeding and training, on from where the phase before left off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from reuse.features.feeding import feed_inputs
from reuse.features.planned import PlannedFeatures
from reuse.finetuning.feeding import PhaseNeeds, feed_phase
from reuse.layers.freezing import Freezing, freeze, frozen, unfreeze
from reuse.layers.selecting import select
from reuse.reporting import Reporter
from reuse.runs.checkpoints import keep_still
from reuse.runs.fitting import EpochRange, Fitted, train
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import PhaseRecord
from reuse.runs.phases import record_phase
from reuse.setup.finetuning import FinetuneSetup
from reuse.setup.trainers import make_trainer
from reuse.training.feeds import Feed
from reuse.training.parallel import spread
from reuse.training.phases import Phase
from reuse.training.state import live_tensors
from reuse.training.stopping import EarlyStopping
from reuse.training.trainer import Trainer


@dataclass
class TuningProgress:
    """The progress of a fine-tuning, which its phases hand on.

    Attributes:
        stopping: decides when to stop, and holds the best weights.
        resume: whether the next phase goes on from a checkpoint.
        trainer: of the phase before, None before the first.
        feed: of the phase before, None before the first.
        seconds: of all feeds together, by what took them.
        cache: what the first cache gave, and how many rows were computed for those of later phases.
        features: of the first phase that was cut.
        done: the outcome of the last phase.
        notes: why nothing was cached, and why nothing was learned.
        since: number of the first epoch of the parameters that began to train later than others, by name.
        rested: names of the tensors that trained at first and rest now, as their layers have settled.
    """

    stopping: EarlyStopping
    resume: bool
    trainer: Trainer | None = None
    feed: Feed | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    cache: dict[str, Any] | None = None
    features: PlannedFeatures | None = None
    done: Fitted | None = None
    notes: list[str] = field(default_factory=list)
    since: dict[str, int] = field(default_factory=dict)
    rested: set[str] = field(default_factory=set)

    @property
    def goes_on(self) -> bool:
        """Whether another phase follows."""
        return self.done is not None and self.done.goes_on


def train_phase(
    setup: FinetuneSetup, phase: Phase, progress: TuningProgress, run: RunFolder, reporter: Reporter
) -> Trainer:
    """Train the epochs of a phase, on from where the phase before left off: its optimizer's state goes with it."""
    settings, model, data, phases = setup.task.settings, setup.model, setup.task.data, setup.phases
    freezing = _begin(model, phase, phases, progress, run, reporter)
    needs = PhaseNeeds(setup, phase, training_later(model, phases[phases.index(phase) + 1 :]))
    feed, features, why_not = feed_phase(needs, freezing, run, reporter, progress.feed)
    frontier = features.frontier if features else ()
    record_phase(run, PhaseRecord(phase.first, freezing.layers, frontier, phase.settled))
    feed.network = spread(model, feed.network, settings.parallel)
    parts = setup.tuning_parts(progress.since, settings.feature_noise)
    trainer = make_trainer(model, setup.objective, feed, settings, data, parts)
    if progress.trainer is not None:
        trainer.load_state_dict(progress.trainer.state_dict())
    since = 1 if phase.settled else phase.first  # what comes to rest is no reason to wait anew
    until = phase.last if phase is not phases[-1] else None
    inputs = partial(feed_inputs, model, data, setup.compute) if progress.rested and feed.cache else None
    try:
        done = train(
            trainer,
            feed,
            settings,
            run,
            reporter,
            resume=progress.resume,
            stopping=progress.stopping,
            epochs=EpochRange(settings.epochs, since, until),
            rested=progress.rested,
            inputs=inputs,
        )
    finally:
        feed.close(reporter)  # what is frozen now may train in the next phase
    progress.cache, progress.features = _with_later(progress.cache, feed.cache), progress.features or features
    progress.trainer, progress.feed, progress.done, progress.resume = trainer, feed, done, False
    for name, value in {**feed.seconds, "train": done.seconds}.items():
        progress.seconds[name] = progress.seconds.get(name, 0.0) + value
    progress.notes.extend(note for note in (why_not, done.failure) if note)
    return trainer


def _with_later(first: dict[str, Any] | None, more: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what the cache of the first phase gave, with the rows that were computed for that of a later one."""
    if first is None or more is None:
        return first or more
    later = first["later"] + more["rows"]["computed"] + more["later"]
    return {**first, "later": later, "hit": first["hit"] and more["hit"]}


def training_later(model: nn.Module, phases: Sequence[Phase]) -> list[list[nn.Parameter]]:
    """Return for each of the phases to come what will have been unfrozen by then; short ones read no cache."""
    patterns: list[str] = []
    training = []
    for phase in phases:
        patterns += phase.unfrozen
        if phase.last > phase.first:
            training.append([model.get_parameter(name) for name in select(model, patterns).parameters])
    return training


def _begin(
    model: nn.Module, phase: Phase, phases: list[Phase], progress: TuningProgress, run: RunFolder, reporter: Reporter
) -> Freezing:
    """Freeze and unfreeze for a phase, as for its predecessors, which a resumed run has not done yet."""
    freezing = frozen(model)
    for earlier in phases[: phases.index(phase) + 1]:
        if earlier.unfrozen:
            unfreeze(model, earlier.unfrozen)
            before, freezing = freezing, frozen(model)
            progress.since.update(dict.fromkeys(set(before.parameters) - set(freezing.parameters), earlier.first))
        if earlier.settled:
            live = live_tensors(model).keys()
            freezing = freeze(model, list(earlier.settled))
            progress.rested |= live - live_tensors(model).keys()
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

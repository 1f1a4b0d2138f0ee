"""One stage of a pretraining: what is frozen in it, the rows that it reads, and its epochs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from reuse.layers.freezing import frozen, hold
from reuse.objectives.objective import TrainingStage
from reuse.pretraining.feeding import StageNeeds, feed_stage
from reuse.pretraining.probing import ERROR, FeatureProbe
from reuse.reporting import Reporter
from reuse.runs.checkpoints import keep_still, newest_epoch
from reuse.runs.fitting import EpochRange, Fitted, train
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import PhaseRecord
from reuse.runs.phases import record_phase
from reuse.setup.pretraining import PretrainSetup
from reuse.setup.trainers import make_stopping, make_trainer
from reuse.training.feeds import Feed
from reuse.training.parallel import spread
from reuse.training.phases import Phase


@dataclass
class StageProgress:
    """The progress of a pretraining, which its stages hand on.

    Attributes:
        feed: of the stage before; what it holds in memory spares layers.
        done: the outcome of the last stage.
        cache: what the cache gave the last stage that read one.
        seconds: of all stages together, by what took them.
        phases: of the stages so far, as the result tells of them.
    """

    feed: Feed | None = None
    done: Fitted | None = None
    cache: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"prepare": 0.0, "digest": 0.0, "cache": 0.0})
    phases: list[dict[str, Any]] = field(default_factory=list)


def train_stage(
    setup: PretrainSetup,
    stage: TrainingStage,
    phases: Sequence[Phase],
    progress: StageProgress,
    run: RunFolder,
    told: Reporter,
    probe: FeatureProbe | None = None,
) -> None:
    """Train the epochs of one of several stages, or go on with them where the run has begun them.

    Args:
        setup: of the pretraining.
        stage: that is trained.
        phases: of all stages, in order.
        progress: of the stages before; changed.
        run: where the training is recorded.
        told: of lines and epochs.
        probe: scores the encoder after an epoch; None: nothing does.
    """
    settings, trained, objective = setup.settings, setup.trained, stage.objective
    phase = next(phase for phase in phases if phase.stage == stage.name)
    told.line(f"stage {stage.name}: epochs {phase.first} to {phase.last}")
    freezing = rest_all_but(trained, stage.network)
    keep_still(run, trained)
    feed, features = feed_stage(StageNeeds(setup, stage, phase), progress.feed, run, told)
    frontier = features.frontier if features else ()
    record = PhaseRecord(phase.first, freezing, frontier, stage=stage.name)
    record_phase(run, record)
    feed.network = spread(trained, feed.network, settings.parallel)
    trainer = make_trainer(trained, objective, feed, settings, setup.data)
    resume = newest_epoch(run) >= phase.first
    if not resume:
        trainer.load_state_dict({**trainer.state_dict(), "epoch": phase.first - 1})
    until = None if phase is phases[-1] else phase.last
    epochs = EpochRange(settings.epochs, phase.first, until, stage.name)
    stopping = make_stopping(objective, settings, ERROR if settings.stop_on else None)
    try:
        done = train(trainer, feed, settings, run, told, resume=resume, stopping=stopping, epochs=epochs, probe=probe)
    finally:
        feed.close(told)
    progress.feed, progress.done, progress.cache = feed, done, feed.cache or progress.cache
    cache = {} if feed.cache is None else {"cache": feed.cache}
    progress.phases.append({**record.to_dict(), **cache})
    for name, value in {**feed.seconds, "train": done.seconds}.items():
        progress.seconds[name] = progress.seconds.get(name, 0.0) + value


def rest_all_but(trained: nn.Module, network: nn.Module) -> tuple[str, ...]:
    """Let the parameters of a network train and all others of a module rest; return the names of the layers that do.

    Args:
        trained: all that is trained in any stage.
        network: what trains now, made of parts of it.
    """
    for parameter in trained.parameters():
        parameter.requires_grad_(True)
    hold(trained)
    own = {id(parameter) for parameter in network.parameters()}
    for parameter in trained.parameters():
        parameter.requires_grad_(id(parameter) in own)
    return frozen(trained).layers

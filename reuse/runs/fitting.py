"""Running the loop: recording, checkpoints, early stopping, the best weights, going on after an interruption."""

import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from torch import Tensor

from reuse.data.dataset import SPLITS
from reuse.data.rows import Rows
from reuse.distributed import LostProcessError, others_needed
from reuse.errors import ReuseError, RunError
from reuse.heap import keep_freed_memory
from reuse.reporting import Epoch, Reporter
from reuse.runs.checkpoints import Saver, load_checkpoint
from reuse.runs.folder import RunFolder
from reuse.runs.judging import judge
from reuse.runs.recording import Probing, Recorder, Recording, recorder
from reuse.settings.commands import TrainedSettings
from reuse.training.feeds import Feed
from reuse.training.locating import locate
from reuse.training.running_loss import LossError
from reuse.training.state import live_tensors
from reuse.training.stopping import EarlyStopping
from reuse.training.threads import fitting_threads
from reuse.training.trainer import Trainer

RowsAndTargets = tuple[Rows, Tensor | None]


class Interrupted(ReuseError):  # noqa: N818 - it is no fault
    """A training that was interrupted from the keyboard, saved."""

    exit_code = 130  # as shells have it


@contextmanager
def interruptible(run: RunFolder) -> Iterator[None]:
    """Say how to go on after an interruption from the keyboard, whatever was being done; the run's start is saved.

    Raises:
        Interrupted: Ctrl-C.
    """
    try:
        with others_needed():
            yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; go on with --resume {run.path}") from error
    except LostProcessError as error:
        raise LostProcessError(f"{error}; go on with --resume {run.path}") from error


@dataclass(frozen=True)
class EpochRange:
    """The epochs of a phase.

    Attributes:
        last: number of the last epoch of all.
        since: number of the first epoch of this phase: patience begins anew with it.
        until: number of the last epoch of this phase, where others follow: it does not stop early, and what it comes to
            stays; None: this phase is the last, unless layers settle.
        stage: name of the stage of a pretraining that this phase is; empty where there are none.
    """

    last: int
    since: int = 1
    until: int | None = None
    stage: str = ""


@dataclass(frozen=True)
class Rested:
    """Layers that trained in earlier phases and rest now.

    Attributes:
        names: of their tensors; best weights may hold them.
        whole: called where the best weights are from before layers came to rest, which makes what was computed of
            these useless: gives the trainer the whole model and returns the training rows as it reads them; None: the
            trainer's network is the whole model.
    """

    names: Collection[str] = ()
    whole: Callable[[], Rows] | None = None


@dataclass(frozen=True)
class Fitted:
    """The outcome of a training.

    Attributes:
        epochs: how many have run, earlier parts of a resumed run included.
        best_epoch: whose weights the model holds now.
        stopped_early: whether patience ran out.
        seconds: of this process, validation and checkpoints included.
        goes_on: whether another phase is to follow: the weights are those of the last epoch.
        metrics: of each split with the best weights; empty where they were not measured.
        failure: what is wrong with the outcome, and what to try; empty where nothing is.
    """

    epochs: int
    best_epoch: int
    stopped_early: bool
    seconds: float
    goes_on: bool = False
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    failure: str = ""


def train(
    trainer: Trainer,
    feed: Feed,
    settings: TrainedSettings,
    run: RunFolder,
    reporter: Reporter,
    *,
    resume: bool,
    stopping: EarlyStopping,
    epochs: EpochRange,
    rested: Collection[str] = (),
    inputs: Callable[[], Feed] | None = None,
    probe: Probing | None = None,
) -> Fitted:
    """Train on a feed and measure the best weights on all splits.

    Args:
        trainer: what trains.
        feed: what it reads.
        settings: of the command.
        run: where the training is recorded.
        reporter: told of lines and epochs.
        resume: go on from the last checkpoint.
        stopping: that of the phases before, or a fresh one.
        epochs: of this phase.
        rested: names of the tensors that trained in earlier phases and rest now.
        inputs: makes a feed of the whole model, for where the best weights are from before layers came to rest.
        probe: scores the model after an epoch; None: nothing does.
    """
    started = time.perf_counter()
    rows, valid = feed.splits["train"], feed.splits["valid"]

    def whole() -> Rows:
        assert inputs is not None
        read = inputs()
        feed.network, feed.splits = read.network, read.splits
        trainer.network = read.network
        return feed.splits["train"][0]

    threads = fitting_threads(feed.network, trainer.model, rows[0], settings.batch_size, settings.precision)
    with threads, keep_freed_memory():
        fitted = fit(
            trainer,
            rows,
            valid if len(valid[0]) else None,
            run=run,
            reporter=reporter,
            stopping=stopping,
            epochs=epochs,
            resume=resume,
            precise_norm=settings.precise_norm,
            recording=Recording(settings.watch, settings.tensorboard, settings.snapshots, epochs.stage, probe),
            rested=Rested(rested, None if inputs is None else whole),
        )
        done = not fitted.goes_on
        sums = {name: trainer.tally(*some) for name, some in feed.splits.items() if done and len(some[0])}
    ordered = sorted(feed.splits, key=SPLITS.index)
    metrics = {name: trainer.objective.metrics(sums[name]) if name in sums else {} for name in ordered}
    if failure := judge(trainer.objective, sums, metrics, settings.learning_rate):
        reporter.warning(failure)
    return replace(fitted, metrics=metrics, failure=failure, seconds=time.perf_counter() - started)


def fit(
    trainer: Trainer,
    train: RowsAndTargets,
    valid: RowsAndTargets | None,
    *,
    run: RunFolder,
    reporter: Reporter,
    stopping: EarlyStopping,
    epochs: EpochRange,
    resume: bool = False,
    precise_norm: bool = False,
    recording: Recording | None = None,
    rested: Rested | None = None,
) -> Fitted:
    """Train, keep the weights of the best epoch on the validation rows, and put them back at the end.

    Where layers have settled after an epoch (see `reuse.training.settling`), this phase ends with it.

    Args:
        trainer: with its model in the state to start from.
        train: rows and targets to learn from.
        valid: rows and targets to choose by; None keeps the last epoch's weights.
        run: where history and checkpoints go; its start is saved.
        reporter: told of every epoch.
        stopping: decides when to stop and keeps the best weights, those of earlier phases included.
        epochs: of this phase.
        resume: go on from the run's last checkpoint.
        precise_norm: compute the batch norms' statistics of the best weights anew over all training rows.
        recording: what is recorded beside the history; None: nothing.
        rested: layers that trained in earlier phases; None: there are none.

    Raises:
        Interrupted: Ctrl-C; the state after the last whole epoch is saved.
        UsageError: what is to be recorded cannot be.
        ReuseError: the loss or the validation metric that is watched is not finite; the message names the layer where
            that began.
    """
    started, trainer.reporter = time.perf_counter(), reporter
    rested = rested or Rested()
    if resume:
        _go_on(trainer, stopping, run, reporter, rested.names)
    if trainer.epoch == epochs.since - 1:
        stopping.begin_phase(live_tensors(trainer.model))
    with recorder(trainer, train[0], epochs.last, run, reporter, recording or Recording()) as records:
        stopped_early = _loop(trainer, stopping, train, valid, epochs, records)
    settled = bool(trainer.settling.settled) and not stopped_early and trainer.epoch < epochs.last
    if epochs.until is not None or settled:
        return Fitted(trainer.epoch, trainer.epoch, False, time.perf_counter() - started, goes_on=True)
    best_epoch = stopping.restore(trainer.model) or trainer.epoch
    is_older = rested.whole is not None and not stopping.names <= live_tensors(trainer.model).keys()
    source = rested.whole() if rested.whole is not None and is_older else train[0]
    if precise_norm:
        count = trainer.precise_statistics(source)
        done = f"computed the statistics of {count} batch norm{'s' if count > 1 else ''} anew over all training rows"
        reporter.line(done if count else "precise_norm changed nothing: no batch norm trains")
    return Fitted(trainer.epoch, best_epoch, stopped_early, time.perf_counter() - started)


def _loop(
    trainer: Trainer,
    stopping: EarlyStopping,
    train: RowsAndTargets,
    valid: RowsAndTargets | None,
    epochs: EpochRange,
    records: Recorder,
) -> bool:
    if epochs.until is None and valid is not None and stopping.is_over():
        return True  # the run that is resumed had stopped already
    run, saver = records.run, Saver(trainer, stopping, records.run)
    valid_source, valid_targets = valid if valid is not None else (None, None)
    stop = False
    try:
        for ended in trainer.epochs(*train, valid_source, valid_targets, epochs=epochs.last):
            epoch = records.probed(ended)
            if valid is not None and stopping.monitor is not None:
                _refuse_unusable(epoch, stopping.monitor)
                value = epoch.valid.get(stopping.monitor, math.inf)  # a probe scores some epochs
                stop = stopping.update(epoch.number, value, trainer.kept_tensors)
            if valid is not None:
                stop = stop or stopping.is_gap_too_wide(epoch.train, epoch.valid)
            if epochs.until is not None:
                stop = epoch.number == epochs.until
            records.record(epoch)
            saver.keep()
            if stop or (trainer.settling.settled and epoch.number < epochs.last):
                break
    except KeyboardInterrupt as error:
        saver.write()
        raise Interrupted(
            f"interrupted after epoch {saver.epoch} of {epochs.last}; go on with --resume {run.path}"
        ) from error
    except LossError as error:
        records.reporter.line(f"{str(error).partition(':')[0]}: looking for the layer")
        raise locate(error, trainer, saver.state[0], *train, epochs=epochs.last) from error
    except LostProcessError:
        saver.write()
        raise
    saver.write()
    return stop


def _refuse_unusable(epoch: Epoch, monitor: str) -> None:
    """Raise where an epoch cannot be compared with others: no weights would ever be the best."""
    value = epoch.valid.get(monitor, 0.0)
    if not math.isfinite(value):
        raise ReuseError(
            f"the validation {monitor} is {value} after epoch {epoch.number}: lower the learning rate, clip the "
            "gradients with clip_norm, or look for missing or huge values in the validation rows"
        )


def _go_on(
    trainer: Trainer, stopping: EarlyStopping, run: RunFolder, reporter: Reporter, rested: Collection[str]
) -> None:
    """Put back the last checkpoint; what was recorded after it is forgotten as the next epochs are.

    Where layers are frozen now that were not, the best weights so far do not fit them, and are forgotten too, but for
    those that are known to rest.
    """
    saved = load_checkpoint(run)
    if saved is not None:
        try:
            trainer.load_state_dict(saved[0])
        except ReuseError:
            raise
        except Exception as error:  # what torch says of a state that is none
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise RunError(f"the checkpoint of {run.path} is damaged: {said}; train again") from error
        best, live = saved[1]["weights"], live_tensors(trainer.model)
        if best.keys() <= live.keys() | set(rested):
            stopping.load_state_dict(saved[1])
            stopping.extend(live)
        else:
            reporter.line(f"other layers are frozen now: the best epoch is sought anew after epoch {trainer.epoch}")

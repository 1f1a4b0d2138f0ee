"""Recording epochs: the history, what the layers show, TensorBoard, snapshots; and telling whoever listens."""

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from reuse.data.rows import Rows
from reuse.distributed import is_main
from reuse.reporting import Epoch, Reporter
from reuse.runs.checkpoints import savable_tensors
from reuse.runs.folder import RunFolder
from reuse.runs.snapshots import forget_snapshots, kept_epochs, save_snapshot
from reuse.runs.tensorboard import FOLDER, TensorBoard
from reuse.training.batches import batch_sizes
from reuse.training.state import copied
from reuse.training.trainer import Trainer
from reuse.training.watching import Figures, watch

Probing = Callable[[int], dict[str, float]]
"""From the number of an epoch that has just ended to scores; empty where it is not scored."""


@dataclass(frozen=True)
class Recording:
    """The records beside the history.

    Attributes:
        watch: look at the layers after each epoch and give advice (see `reuse.training.watching`).
        tensorboard: write events for TensorBoard.
        snapshots: keep the weights of every so many epochs, or cycles (see `reuse.runs.snapshots`); None: of none.
        probe: gives more metrics of the validation rows after an epoch, by its number; None: there are none.
        stage: name of the stage that the epochs belong to, which the history says; empty: there is none.
    """

    watch: bool = False
    tensorboard: bool = False
    snapshots: int | None = None
    stage: str = ""
    probe: Probing | None = None


class Recorder:
    """Records the epochs of a trainer in a run; what the run holds of later epochs than the trainer's is forgotten.

    Args:
        trainer: before its next epoch.
        train: the training rows.
        epochs: number of the last epoch.
        run: where.
        reporter: told of every epoch and of what there is to say.
        recording: what is recorded.

    Raises:
        UsageError: tensorboard is not installed, or snapshots cannot be taken as given.
    """

    def __init__(
        self,
        trainer: Trainer,
        train: Rows,
        epochs: int,
        run: RunFolder,
        reporter: Reporter,
        recording: Recording,
    ) -> None:
        self.trainer, self.train, self.epochs = trainer, train, epochs
        self.run, self.reporter, self.recording = run, reporter, recording
        self._snapshots = _kept(trainer, train, epochs, recording.snapshots)
        run.truncate_history(trainer.epoch)
        forget_snapshots(run, trainer.epoch)
        advice = [one for line in run.history() for one in line.get("advice", ())]
        self._said = {(layer, one["kind"]) for one in advice for layer in one["layers"]}
        self._before = self._weights()
        shows = recording.tensorboard and is_main()
        self._board = TensorBoard(run.path / FOLDER, trainer.epoch + 1) if shows else None

    def probed(self, epoch: Epoch) -> Epoch:
        """Return an epoch that has just ended with the scores of a probe among the metrics of the validation rows."""
        probe = self.recording.probe
        return epoch if probe is None else replace(epoch, valid={**epoch.valid, **probe(epoch.number)})

    def record(self, epoch: Epoch) -> None:
        """Record an epoch that has just ended."""
        line, advice = _history_line(epoch), list[str]()
        if self.recording.stage:
            line["stage"] = self.recording.stage
        if self.recording.watch:
            seen = watch(self.trainer, self.train, before=self._before, said=self._said)
            self._before = self._weights()
            self._said |= {(layer, one.kind) for one in seen.advice for layer in one.layers}
            line |= {"layers": _rounded(seen.layers), "advice": [asdict(one) for one in seen.advice]}
            advice = [one.text for one in seen.advice]
        self.run.append_history(line)
        if epoch.number in self._snapshots:
            whole = {**savable_tensors(self.trainer.model), **self.trainer.kept_tensors()}
            save_snapshot(self.run, epoch, whole)
        if self._board is not None:
            self._board.write(epoch, self.trainer.parameters)
        self.reporter.epoch(epoch, self.epochs)
        for text in (*epoch.notes, *advice):
            self.reporter.line(text)

    def close(self) -> None:
        """Finish what is open."""
        if self._board is not None:
            self._board.close()

    def _weights(self) -> dict[str, Tensor]:
        return copied(dict(self.trainer.parameters)) if self.recording.watch else {}


@contextmanager
def recorder(
    trainer: Trainer, train: Rows, epochs: int, run: RunFolder, reporter: Reporter, recording: Recording
) -> Iterator[Recorder]:
    """Give a `Recorder`, and close it whatever ends the block."""
    opened = Recorder(trainer, train, epochs, run, reporter, recording)
    try:
        yield opened
    finally:
        opened.close()


def _kept(trainer: Trainer, train: Rows, epochs: int, snapshots: int | None) -> Collection[int]:
    steps = math.ceil(len(batch_sizes(len(train), trainer.loop.batch_size)) / trainer.loop.accumulate)
    how = trainer.descent.optimization
    return kept_epochs(snapshots, epochs, schedule=how.schedule, warmup=how.warmup, steps_per_epoch=steps)


def _rounded(layers: Figures) -> Figures:
    return {name: {kind: float(f"{value:.6g}") for kind, value in entry.items()} for name, entry in layers.items()}


def _history_line(epoch: Epoch) -> dict[str, Any]:
    return {
        "epoch": epoch.number,
        "train": epoch.train,
        "valid": epoch.valid,
        "learning_rate": epoch.learning_rate,
        "seconds": round(epoch.seconds, 6),
    }

"""This project: `fit` with validation, metrics, the best weights kept and checkpoints written, as in a real run."""

import tempfile
from typing import Any

from peers.rows import BATCH, CLASSES, FEATURES, RATE, WIDTHS, Ended, Rows
from reuse.data.rows import Resident
from reuse.nn.building import build
from reuse.objectives.supervised import Classification
from reuse.optim.groups import OptimizerSettings
from reuse.reporting import Epoch, Reporter
from reuse.runs.fitting import EpochRange, fit
from reuse.runs.folder import RunFolder
from reuse.training.settings import LoopSettings
from reuse.training.stopping import EarlyStopping
from reuse.training.threads import fitting_threads
from reuse.training.trainer import Trainer

MODEL = f"mlp:{','.join(map(str, WIDTHS))}"
EPOCHS = 1_000_000  # until the benchmark ends


class _Turns(Reporter):
    def __init__(self, ended: Ended) -> None:
        self.ended = ended

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        self.ended()

    def line(self, text: str) -> None:
        print(text)


def plain(rows: Rows, ended: Ended) -> None:
    """Train with SGD."""
    _fit(rows, ended, {})


def compiled(rows: Rows, ended: Ended) -> None:
    """Train with whole steps compiled."""
    _fit(rows, ended, {}, compiling=True)


def normed(rows: Rows, ended: Ended) -> None:
    """Train with batch norm before each activation."""
    _fit(rows, ended, {"norm": "batch"})


def adam(rows: Rows, ended: Ended) -> None:
    """Train with Adam."""
    _fit(rows, ended, {}, optimizer="adam")


def compiled_adam(rows: Rows, ended: Ended) -> None:
    """Train with Adam and whole steps compiled."""
    _fit(rows, ended, {}, optimizer="adam", compiling=True)


def _fit(
    rows: Rows, ended: Ended, building: dict[str, Any], optimizer: str = "sgd", *, compiling: bool = False
) -> None:
    model = build(MODEL, (FEATURES,), CLASSES, activation="relu", init="he_normal", **building)
    how, loop = OptimizerSettings(optimizer, RATE), LoopSettings(BATCH, compile=compiling)
    trainer = Trainer(model, Classification(CLASSES), optimization=how, loop=loop)
    train, valid = (Resident(rows.inputs), rows.labels), (Resident(rows.valid_inputs), rows.valid_labels)
    with tempfile.TemporaryDirectory() as folder, fitting_threads(model, model, train[0], BATCH):
        run, stopping = RunFolder.create("pretrain", folder), EarlyStopping(None)
        fit(trainer, train, valid, stopping=stopping, epochs=EpochRange(EPOCHS), run=run, reporter=_Turns(ended))

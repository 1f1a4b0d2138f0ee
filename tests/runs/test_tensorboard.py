"""TensorBoard's own reader finds every epoch once, in runs that were interrupted too."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reuse.errors import UsageError
from reuse.reporting import Epoch
from reuse.runs.tensorboard import TensorBoard, check_tensorboard

FOLDER = Path("board")


def epoch(number: int, loss: float = 0.5) -> Epoch:
    return Epoch(number, {"loss": loss}, {"loss": 1.0, "accuracy": 0.25}, 0.1, 0.01)


def read() -> Any:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    return accumulators.EventAccumulator(str(FOLDER), {"histograms": 0, "scalars": 0}).Reload()


def model() -> nn.Module:
    own = nn.Linear(3, 2)
    own(torch.ones(4, 3)).sum().backward()
    own.weight.data[0, 0] = float("nan")
    return own


def write(*numbers: int, since: int = 1, loss: float = 0.5) -> None:
    board = TensorBoard(FOLDER, since)
    for number in numbers:
        board.write(epoch(number, loss), model().named_parameters())
    board.close()


def test_scalars_and_histograms_of_every_epoch() -> None:
    pytest.importorskip("tensorboard")
    write(1, 2)
    found = read()
    scalars = {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert scalars["train/loss"] == [(1, 0.5), (2, 0.5)]
    assert scalars["valid/accuracy"] == [(1, 0.25), (2, 0.25)]
    assert scalars["learning_rate"] == [(1, pytest.approx(0.01)), (2, pytest.approx(0.01))]
    histograms = {tag: [e.histogram_value.num for e in found.Histograms(tag)] for tag in found.Tags()["histograms"]}
    expected = {"weights/weight": 5, "weights/bias": 2, "gradients/weight": 6, "gradients/bias": 2}
    assert histograms == {tag: [number, number] for tag, number in expected.items()}, "without what is not finite"


def test_a_loss_that_is_not_finite_is_left_out() -> None:
    pytest.importorskip("tensorboard")
    write(1, loss=float("nan"))
    assert "train/loss" not in read().Tags()["scalars"]


def test_epochs_that_are_trained_again_count_once() -> None:
    pytest.importorskip("tensorboard")
    write(1, 2, 3, loss=0.5)
    write(3, 4, since=3, loss=0.25)
    steps = [(event.step, event.value) for event in read().Scalars("train/loss")]
    assert steps == [(1, 0.5), (2, 0.5), (3, 0.25), (4, 0.25)]


def test_without_tensorboard_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r'pip install "torch-reuse\[report\]"'):
        check_tensorboard()
    with pytest.raises(UsageError, match="tensorboard is not installed"):
        TensorBoard(FOLDER)

"""Where a loss became NaN: the row, the layer whose outputs are the first, the weights, or the loss itself."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reuse.data.rows import Batch, Resident
from reuse.nn.building import build
from reuse.objectives.supervised import Classification
from reuse.optim.groups import OptimizerSettings
from reuse.training.locating import locate
from reuse.training.running_loss import LossError
from reuse.training.settings import LoopSettings
from reuse.training.trainer import Trainer

DRAW = torch.Generator().manual_seed(0)
ROWS = torch.randn(64, 6, generator=DRAW)
LABELS = torch.randint(3, (64,), generator=DRAW)


def located(trainer: Trainer, rows: Tensor = ROWS) -> LossError:
    """Train, keep the state after each epoch as a run does, and look for what went wrong."""
    states = [trainer.state_dict()]
    with pytest.raises(LossError) as failed:
        states.extend(trainer.state_dict() for _ in trainer.epochs(Resident(rows), LABELS, epochs=5))
    assert not any(hook for module in trainer.model.modules() for hook in module._forward_hooks)
    return locate(failed.value, trainer, states[-1], Resident(rows), LABELS, epochs=5)


class Sick(nn.Module):
    """Passes its inputs on, and infinities once it has been called often enough in training."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.register_buffer("left", torch.tensor(calls))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.left -= 1
        return torch.where(self.left < 0, torch.inf, x)


def network() -> nn.Module:
    torch.manual_seed(0)
    return build("mlp:8,7", (6,), 3)


def test_the_first_layer_whose_outputs_are_not_finite() -> None:
    model = network()
    model.get_submodule("hidden2").add_module("activation", Sick(6))
    error = located(Trainer(model, Classification(3), loop=LoopSettings(batch_size=16)))
    assert str(error) == (
        "the training loss became nan in epoch 2, step 3 of 4, first in hidden2: its outputs are not finite, its "
        "weights and inputs are: try a lower learning rate, gradient clipping (clip_norm) or a warm-up, and look for "
        "NaN in the data"
    )


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_rate_that_is_far_too_high(accumulate: int) -> None:
    trainer = Trainer(
        network(),
        Classification(3),
        optimization=OptimizerSettings("sgd", 1e20),
        loop=LoopSettings(batch_size=8, accumulate=accumulate),
    )
    text = str(located(trainer))
    assert "in epoch 1, step" in text
    assert any(f"first in {layer}: its" in text for layer in ("hidden1", "hidden2", "output"))


def test_weights_that_a_step_made_nan() -> None:
    class Bad(Classification):
        def losses(self, network: Any, batch: Batch) -> dict[str, Tensor]:
            loss = super().losses(network, batch)["loss"]
            return {"loss": loss + (model.get_parameter("output.bias") * 0).sum().sqrt()}  # its slope at 0 is infinite

    model = network()
    text = str(located(Trainer(model, Bad(3), loop=LoopSettings(batch_size=16))))
    assert "epoch 1, step 2 of 4, first in output: its weights are not finite after the step before" in text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_row_of_the_data(value: float) -> None:
    rows = ROWS.clone()
    rows[17, 3] = value
    assert "first in row 17 of the training rows, which is not finite" in str(
        located(Trainer(network(), Classification(3), loop=LoopSettings(batch_size=16)), rows)
    )


def test_the_loss_itself() -> None:
    class Bad(Classification):
        def losses(self, network: Any, batch: Batch) -> dict[str, Tensor]:
            loss = super().losses(network, batch)["loss"]
            return {"loss": loss * math.nan if (batch.inputs[0] == ROWS[5]).all(1).any() else loss}

    text = str(located(Trainer(network(), Bad(3), loop=LoopSettings(batch_size=16))))
    assert "of 4, first in the loss itself: the output of every layer is finite: try" in text

"""What settings mean in a training step."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reuse import precision
from reuse.data.loading import load
from reuse.devices import Compute
from reuse.errors import UsageError
from reuse.features.feeding import feed_inputs
from reuse.nn.building import build
from reuse.objectives.supervised import Classification
from reuse.optim.building import read_switches
from reuse.optim.groups import OptimizerSettings
from reuse.settings.commands import FinetuneSettings
from reuse.setup.trainers import make_trainer, trainer_arguments
from reuse.training.trainer import Trainer

DATA = load("digits", labels=60)


def trainer(model: nn.Module | None = None, **settings: Any) -> Trainer:
    model = build("mlp:8", (1, 8, 8), 10, norm="batch") if model is None else model
    chosen = FinetuneSettings(**{"epochs": 3, "learning_rate": 0.1, **settings})
    feed = feed_inputs(model, DATA, Compute(torch.device("cpu"), "float32"))
    return make_trainer(model, Classification(10), feed, chosen, DATA)


def rates(made: Trainer) -> dict[str, tuple[float, float]]:
    """Return rate and decay of each parameter by name."""
    names = {id(parameter): name for name, parameter in made.parameters}
    groups = made.optimizer.param_groups
    return {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


def test_rates_by_layer_times_layer_decay_and_no_decay_of_biases_and_norms() -> None:
    made = rates(trainer(layer_rates="hidden1=0.5", layer_decay=0.8, weight_decay=0.01, optimizer="adamw"))
    assert made["hidden1.linear.weight"] == pytest.approx((0.1 * 0.5 * 0.8, 0.01))
    assert made["hidden1.norm.weight"] == pytest.approx((0.1 * 0.5 * 0.8, 0.0))
    assert made["output.weight"] == pytest.approx((0.1, 0.01))
    assert made["output.bias"] == pytest.approx((0.1, 0.0))
    assert {decay for _, decay in rates(trainer(weight_decay=0.01, decay_all=True)).values()} == {0.01}


@pytest.mark.parametrize("norm", ["weight", "spectral"])
def test_lengths_under_weight_norm_are_scales(norm: str) -> None:
    made = rates(trainer(build("mlp:8", (1, 8, 8), 10, norm=norm), weight_decay=0.01))
    decayed = {name for name, (_, decay) in made.items() if decay}
    assert "output.weight" in decayed
    assert len([name for name in decayed if name.startswith("hidden1")]) == 1
    assert not [name for name in decayed if name.endswith("original0")]


def test_penalties_are_of_weights_alone() -> None:
    made = trainer(l1=0.5, l2="output=2")
    total = sum(penalty() for penalty in made.parts.penalties)
    linear, output = made.model.hidden1.linear.weight, made.model.output.weight
    torch.testing.assert_close(total, 0.5 * (linear.abs().sum() + output.abs().sum()) + 2 * output.square().sum())


def test_max_norm_by_layer_bounds_the_units_of_that_layer_alone() -> None:
    model = build("mlp:8", (1, 8, 8), 10)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3.0)
    (constrain,) = trainer(model, max_norm="hidden1=1.5").parts.constraints
    constrain(model)
    torch.testing.assert_close(model.hidden1.linear.weight.norm(dim=1), torch.full((8,), 1.5))
    assert bool((model.output.weight == 3.0).all())


def test_adaptive_clipping_leaves_the_output_layer() -> None:
    made = trainer(clip_adaptive=0.01)

    def gradients() -> dict[str, Tensor]:
        for _, parameter in made.parameters:
            parameter.grad = torch.ones_like(parameter)
        for clip in made.parts.clipping:
            clip([parameter for _, parameter in made.parameters])
        return {name: parameter.grad for name, parameter in made.parameters if parameter.grad is not None}

    found = gradients()
    assert bool((found["output.weight"] == 1).all())
    assert float(found["hidden1.linear.weight"].abs().max()) < 0.5


def test_switches_of_the_optimizer() -> None:
    first = OptimizerSettings("adam", 0.1, None, 0.01)
    switches = read_switches("10:sgd:0.01;20:rmsprop:alpha=0.9:1e-3", first, 30)
    assert switches == {
        11: OptimizerSettings("sgd", 0.01, None, 0.01),
        21: OptimizerSettings("rmsprop:alpha=0.9", 0.001, None, 0.01),
    }
    assert read_switches(None, first, 30) == {}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"switch_optimizer": "sgd"}, "epochs:optimizer:rate"),
        ({"switch_optimizer": "0:sgd:0.1"}, "epochs:optimizer:rate"),
        ({"switch_optimizer": "3:sgd:0.1"}, "ends after epoch 3"),
        ({"switch_optimizer": "1:sgdd:0.1"}, "sgdd"),
        ({"switch_optimizer": "1:sgd:0.1;1:adam:0.1"}, "twice after epoch 1"),
        ({"learning_rate": -1.0}, "learning rate is -1.0"),
        ({"schedule": "piecewise:5,0.1"}, "5"),
        ({"warmup": 3.0}, "warm-up"),
        ({"swa": 4}, "swa averages from epoch 4"),
        ({"ema": 0.9, "swa": 1}, "two averages"),
        ({"ema": 1.5}, "1.5"),
        ({"layer_rates": "0.1"}, "layers with multipliers"),
        ({"layer_decay": 2.0}, "layer decay is 2.0"),
        ({"sharpness": -0.1}, "sharpness is -0.1"),
        ({"augment": "twist:3"}, "twist"),
        ({"mixup": -1.0}, "mixup is -1.0"),
        ({"clip_norm": 0.0}, "clip norm"),
        ({"l1": "hiden1=0.1"}, "hidden1"),
        ({"precision": "float16"}, "float16"),
        ({"compile": "maybe"}, "compile"),
    ],
)
def test_what_cannot_be_taken_is_refused_at_once(
    settings: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_has_float16", lambda: False)  # newer processors have it
    with pytest.raises(UsageError, match=words):
        trainer(**settings)


def test_patches_are_of_images() -> None:
    table = load("breast-cancer", labels=60)
    with pytest.raises(UsageError, match=r"cutmix is for images, and the rows of breast-cancer are \(30,\)"):
        trainer_arguments(build("mlp:8", (30,), 2), Classification(2), FinetuneSettings(cutmix=1.0), table)

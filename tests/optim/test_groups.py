"""Groups by rate and decay; layer decay against timm's."""

from collections import OrderedDict

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from reuse.errors import UsageError
from reuse.optim.groups import OptimizerSettings, layer_decay, parameter_groups


def network() -> nn.Module:
    layers = [("low", nn.Linear(4, 5)), ("norm", nn.BatchNorm1d(5)), ("act", nn.ReLU()), ("output", nn.Linear(5, 2))]
    return nn.Sequential(OrderedDict(layers))


def by_name(model: nn.Module, settings: OptimizerSettings) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model.named_parameters(), settings)
    return {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


def test_decay_spares_norms_and_biases_as_timm_does() -> None:
    model = network()
    theirs = timm.optim.param_groups_weight_decay(model, 0.1)
    spared = {id(p) for group in theirs if group["weight_decay"] == 0 for p in group["params"]}
    found = by_name(model, OptimizerSettings(weight_decay=0.1))
    assert {name for name, (_, decay) in found.items() if decay == 0} == {
        name for name, p in model.named_parameters() if id(p) in spared
    }
    assert {decay for _, decay in by_name(model, OptimizerSettings(weight_decay=0.1, decay_all=True)).values()} == {0.1}


def test_no_more_groups_than_needed() -> None:
    model = network()
    assert len(parameter_groups(model.named_parameters(), OptimizerSettings())) == 1
    assert len(parameter_groups(model.named_parameters(), OptimizerSettings(weight_decay=0.1))) == 2
    rates = {"low.weight": 0.5, "low.bias": 0.5}
    assert len(parameter_groups(model.named_parameters(), OptimizerSettings(weight_decay=0.1, rates=rates))) == 4


def test_multipliers_are_of_the_rate() -> None:
    found = by_name(network(), OptimizerSettings(learning_rate=0.2, rates={"low.weight": 0.5, "output.bias": 3.0}))
    assert found["low.weight"][0] == pytest.approx(0.1)
    assert found["output.bias"][0] == pytest.approx(0.6)
    assert found["low.bias"][0] == 0.2


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_layer_decay_is_timms(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    next(model.parameters()).requires_grad_(False)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    theirs = param_groups_layer_decay(model, layer_decay=0.7)
    assert layer_decay(model, 0.7) == pytest.approx({names[id(p)]: g["lr_scale"] for g in theirs for p in g["params"]})


def test_layers_of_other_models_are_their_children() -> None:
    model = network()
    expected = {"low": 0.25, "norm": 0.5, "output": 1.0}
    assert layer_decay(model, 0.5) == {name: expected[name.split(".")[0]] for name, _ in model.named_parameters()}


def test_frozen_layers_are_left_out_and_move_no_other_rate() -> None:
    model = network()
    before = layer_decay(model, 0.5)
    model.norm.requires_grad_(False)
    assert layer_decay(model, 0.5) == {name: rate for name, rate in before.items() if not name.startswith("norm")}


def test_a_wrapper_is_looked_into() -> None:
    wrapped = nn.Sequential(OrderedDict([("body", network())]))
    assert layer_decay(wrapped, 0.5) == {f"body.{name}": rate for name, rate in layer_decay(network(), 0.5).items()}


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.5, float("nan")])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(UsageError, match="layer decay"):
        layer_decay(network(), decay)

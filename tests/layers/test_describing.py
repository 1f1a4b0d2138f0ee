"""The table of layers."""

import timm
import torch
from torch import nn

from reuse.layers.cutting import cut
from reuse.layers.describing import describe_layers
from reuse.layers.freezing import freeze


class Branches(nn.Module):
    """Has a parameter of its own, a layer that is not called, and one that gives a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.body = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.BatchNorm1d(6))
        self.memory = nn.LSTM(6, 3, batch_first=True)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.memory((self.scale * self.body(x))[:, None])[0]


def test_names_types_parameters_and_shapes() -> None:
    layers = {layer.name: layer for layer in describe_layers(Branches(), torch.zeros(2, 4))}
    assert list(layers) == ["scale", "body", "memory", "unused"]
    assert [layer.type for layer in layers.values()] == ["Parameter", "Sequential", "LSTM", "Linear"]
    assert layers["body"].parameters == (4 * 6 + 6) + (6 + 6)
    assert layers["body"].shape == (6,)
    assert layers["body"].bytes == 24
    assert layers["memory"].shape == (1, 3)
    assert layers["unused"].shape is None
    assert layers["scale"].shape is None


def test_depth_opens_layers_and_loses_no_parameter() -> None:
    model = Branches()
    for depth in (1, 2, 5):
        layers = describe_layers(model, torch.zeros(2, 4), depth=depth)
        assert sum(layer.parameters for layer in layers) == sum(p.numel() for p in model.parameters())
    assert [layer.name for layer in layers][1:4] == ["body.0", "body.1", "body.2"]


def test_frozen_partly_frozen_and_without_parameters() -> None:
    model = Branches()
    freeze(model, "body.0,scale")
    shallow = {layer.name: layer.frozen for layer in describe_layers(model, torch.zeros(2, 4))}
    assert shallow == {"scale": "yes", "body": "partly", "memory": "no", "unused": "no"}
    deep = {layer.name: layer.frozen for layer in describe_layers(model, torch.zeros(2, 4), depth=2)}
    assert (deep["body.0"], deep["body.1"], deep["body.2"]) == ("yes", "", "no")


def test_parts_of_a_cut() -> None:
    model = timm.create_model("resnet10t", num_classes=5)
    freeze(model, "!fc,!layer4.0.conv2,!layer4.0.bn2,!layer4.0.downsample")
    example = torch.randn(2, 3, 32, 32)
    parts = cut(model, example)
    layers = {layer.name: layer for layer in describe_layers(model, example, parts)}
    assert layers["layer3"].part == "prefix"
    assert layers["layer4"].part == "both"
    assert layers["fc"].part == "suffix"
    deep = {layer.name: layer for layer in describe_layers(model, example, parts, depth=3)}
    assert deep["layer4.0.conv1"].part == "prefix"
    assert deep["layer4.0.conv2"].part == "suffix"


def test_the_model_is_left_as_it_was() -> None:
    model = Branches().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    describe_layers(model, torch.randn(2, 4, generator=torch.Generator()), depth=3)
    assert all(module.training for module in model.modules())
    assert all(not module._forward_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)

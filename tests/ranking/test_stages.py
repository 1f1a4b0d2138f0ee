"""The layers that are ranked where nobody names any: stages of the model, from the lower to the last."""

import pytest
import timm
import torch
from torch import nn

import reuse
from reuse.errors import UnknownNameError
from reuse.ranking.stages import named_layers, stages_of


@pytest.mark.parametrize(
    ("spec", "stages"),
    [
        ("mlp:50,40,30,20,10", ["hidden2", "hidden3", "hidden4", "hidden5"]),
        ("mlp:50", ["hidden1"]),
        ("lstm:8,4", ["lstm1", "lstm2"]),
    ],
)
def test_of_ours(spec: str, stages: list[str]) -> None:
    assert stages_of(reuse.build(spec, (6, 5) if spec.startswith("lstm") else (30,), 2)) == stages


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet10t", ["layer1", "layer2", "layer3", "layer4"]),
        ("vit_tiny_patch16_224", ["blocks.2", "blocks.5", "blocks.8", "blocks.11"]),
        ("convnext_atto", ["stages.0", "stages.1", "stages.2", "stages.3"]),
    ],
)
def test_of_timm(name: str, stages: list[str]) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    assert stages_of(model) == stages


def test_of_a_sequence() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.LayerNorm(4), nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3)))
    assert stages_of(model) == ["0", "3.0"]


def test_patterns_are_of_any_model() -> None:
    models = [reuse.build("mlp:5,4", (3,), 2), reuse.build("convnet:4,4", (1, 8, 8), 2)]
    assert named_layers(models, "hidden?,conv2,features") == [["hidden1", "hidden2", "features"], ["conv2", "features"]]
    assert named_layers(models, ["hidden1"]) == [["hidden1"], []]
    with pytest.raises(UnknownNameError, match="hiden1"):
        named_layers(models, "hiden1,conv2")

"""Blocks of networks: each parameter below the output in one of them, in order."""

from itertools import pairwise

import pytest
import timm
import torchvision
from torch import nn

from reuse.errors import UsageError
from reuse.nn.building import build
from reuse.training.blocks import blocks


def layers(*widths: int) -> list[nn.Module]:
    return [nn.Linear(a, b) for a, b in pairwise(widths)]


@pytest.mark.parametrize(
    ("spec", "shape", "expected"),
    [
        ("mlp:7,6,5", (9,), ["hidden1", "hidden2", "hidden3"]),
        ("mlp:7", (9,), ["hidden1"]),
        ("convnet:4,residual8", (3, 8, 8), ["conv1", "conv2"]),
        ("lstm:8,8", (5, 4), ["lstm1", "lstm2"]),
    ],
)
def test_blocks_of_our_own_are_the_layers(spec: str, shape: tuple[int, ...], expected: list[str]) -> None:
    assert list(blocks(build(spec, shape, 3, norm="batch" if "lstm" not in spec else None))) == expected


def test_a_residual_net_of_timm_and_one_of_torchvision_have_the_same() -> None:
    expected = ["conv1, bn1", *(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1))]
    assert list(blocks(timm.create_model("resnet18"))) == expected
    assert list(blocks(torchvision.models.resnet18())) == expected


def test_a_transformer_of_timm_and_one_of_torchvision() -> None:
    vit = list(blocks(timm.create_model("vit_tiny_patch16_224", depth=3)))
    assert vit == ["cls_token, pos_embed, patch_embed", "blocks.0", "blocks.1", "blocks.2, norm"]
    names = list(blocks(torchvision.models.vit_b_16(image_size=32)))
    assert names[0] == "class_token, conv_proj"
    assert len(names) == 13


def test_every_parameter_below_the_output_is_in_one_block() -> None:
    model = torchvision.models.resnet18()
    found = [name for names in blocks(model).values() for name in names]
    assert found == [name for name, _ in model.named_parameters() if not name.startswith("fc.")]


def test_a_wrapper_and_a_body_are_opened() -> None:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))
    model = nn.ModuleDict({"body": body, "head": nn.Linear(4, 2)})
    assert list(blocks(model)) == ["body.0, body.1", "body.3"]
    assert list(blocks(nn.ModuleDict({"net": model}))) == ["net.body.0, net.body.1", "net.body.3"]


def test_blocks_end_where_the_output_is_tied() -> None:
    first, second, output = layers(4, 5, 4, 5)
    model = nn.Sequential(first, second, output)
    assert list(blocks(model)) == ["0", "1"]
    output.weight = first.weight
    assert list(blocks(model)) == []


def test_without_an_output_there_are_none() -> None:
    with pytest.raises(UsageError, match="no linear or convolutional layer"):
        blocks(nn.Sequential(nn.BatchNorm1d(3)))

"""Functions of packages that were replaced are seen behind the layers that call them, and nothing else is."""

import pytest
import torch
from torch import nn

from caching.prefixes import print_of


def layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LayerNorm(4), nn.MultiheadAttention(4, 2)).eval()


PATCHES = {
    "called by a layer": (nn.functional, "relu"),
    "called by what a layer calls": (torch, "relu"),
    "compiled": (nn.functional, "linear"),
    "in the middle of a longer way": (nn.functional, "multi_head_attention_forward"),
}


@pytest.mark.parametrize("way", PATCHES)
def test_a_patched_function_is_seen_and_named(way, monkeypatch):
    before = print_of(layers())
    owner, name = PATCHES[way]
    monkeypatch.setattr(owner, name, lambda *given, **named: given[0])
    after = print_of(layers())
    assert before.key != after.key
    assert any(line.startswith("patches/") for line in before.differences(after))
    monkeypatch.setattr(owner, name, lambda *given, **named: given[0] * 2)
    assert print_of(layers()).key != after.key
    monkeypatch.undo()
    assert print_of(layers()).key == before.key


def test_one_function_of_torch_in_the_place_of_another_is_seen(monkeypatch):
    before = print_of(layers()).key
    monkeypatch.setattr(nn.functional, "linear", torch.outer)
    assert print_of(layers()).key != before


def test_a_patch_that_no_layer_calls_changes_no_key(monkeypatch):
    before = print_of(layers()).key
    monkeypatch.setattr(nn.functional, "softplus", lambda x: x)
    monkeypatch.setattr(torch, "save", lambda *given: None)
    assert print_of(layers()).key == before


def test_layers_as_torch_has_them_have_no_patches():
    kinds = [nn.LSTM(3, 4), nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GELU(), nn.Softmax(1), nn.MaxPool2d(2),
             nn.TransformerEncoderLayer(4, 2), nn.Embedding(3, 2), nn.AdaptiveAvgPool2d(1), nn.Upsample(4)]  # fmt: skip
    for kind in kinds:
        assert not [name for name in print_of(nn.Sequential(kind)).components if name.startswith(("patches", "own"))]

import pytest
import torch
from torch import nn

from reuse.nn.building import build
from reuse.nn.defaults import family_settings


def test_one_word_selects_the_default_network() -> None:
    torch.manual_seed(0)
    model = build("default", (200,), 5)
    assert [m.linear.out_features for m in (model.hidden1, model.hidden2)] == [300, 100]
    assert [type(m) for m in model.hidden1] == [nn.Linear, nn.BatchNorm1d, nn.ELU, nn.Dropout]
    assert model.hidden2.dropout.p == 0.2
    assert model.hidden1.linear.weight.var().item() == pytest.approx(2 / 200, rel=0.05)  # He
    assert [type(m) for m in build("default:7", (3,), 5).hidden1] == [type(m) for m in model.hidden1]


def test_what_is_given_comes_before_the_default_networks() -> None:
    model = build("default", (20,), 5, activation="tanh", norm="none", dropout=0.0)
    assert [type(m) for m in model.hidden1] == [nn.Linear, nn.Tanh]
    assert model.hidden1.linear.weight.abs().max() <= (6 / 320) ** 0.5  # Glorot's follow tanh


def test_other_families_bring_nothing_along() -> None:
    assert set(family_settings("default")) == {"activation", "norm", "dropout"}
    assert family_settings("mlp:3") == family_settings("timm:resnet18") == {}
    assert [type(m) for m in build("mlp:7", (3,), 5).hidden1] == [nn.Linear, nn.ReLU]

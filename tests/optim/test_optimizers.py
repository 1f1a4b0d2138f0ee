"""Names mean what torch means by them; frozen parameters are absent; wrong settings are refused."""

import itertools
from typing import Any

import pytest
import timm.optim
import torch
from torch import nn

from reuse.errors import UnknownNameError, UsageError
from reuse.optim.optimizers import OPTIMIZERS, build_optimizer

AS_TORCH: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adadelta": (torch.optim.Adadelta, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "adamax": (torch.optim.Adamax, {}),
    "nadam": (torch.optim.NAdam, {}),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4, generator=draw, dtype=torch.float64)).square().mean().backward()
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


def test_every_name_is_compared() -> None:
    assert AS_TORCH.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize(("name", "decay"), list(itertools.product(AS_TORCH, [0.0, 0.1])))
def test_name_moves_weights_as_torch_does(name: str, decay: float) -> None:
    ours, theirs = network(), network()
    optimizer = build_optimizer(name, list(ours.named_parameters()), learning_rate=0.05, weight_decay=decay)
    make, fixed = AS_TORCH[name]
    found = train(ours, optimizer)
    torch.testing.assert_close(found, train(theirs, make(theirs.parameters(), lr=0.05, weight_decay=decay, **fixed)))


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "rmsprop"])
def test_momentum_setting_goes_to_those_that_take_it(name: str) -> None:
    optimizer = build_optimizer(name, list(network().named_parameters()), learning_rate=0.1, momentum=0.7)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.7]


def test_timm_supplies_the_other_names() -> None:
    optimizer = build_optimizer("lamb", list(network().named_parameters()), learning_rate=0.1, weight_decay=0.02)
    assert isinstance(optimizer, timm.optim.Lamb)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.1, 0.02)]


def test_frozen_parameters_are_absent() -> None:
    model = network()
    model[0].requires_grad_(False)
    optimizer = build_optimizer("sgd", list(model.named_parameters()), learning_rate=0.1, weight_decay=1.0)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model[2].parameters()}


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 0.0},
        {"learning_rate": -0.1},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"weight_decay": -1.0},
        {"weight_decay": float("nan")},
        {"momentum": 1.0},
        {"momentum": float("nan")},
        {"momentum": 0.9, "name": "adam"},
        {"momentum": 0.0, "name": "nesterov"},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    arguments = {"name": "sgd", "learning_rate": 0.1, **settings}
    with pytest.raises(UsageError):
        build_optimizer(arguments.pop("name"), list(network().named_parameters()), **arguments)


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'nesterov'"):
        build_optimizer("nesterof", list(network().named_parameters()), learning_rate=0.1)


def test_nothing_to_train_is_refused() -> None:
    model = network().requires_grad_(False)
    with pytest.raises(UsageError, match="frozen"):
        build_optimizer("sgd", list(model.named_parameters()), learning_rate=0.1)

"""Optimizer state by name survives new objects, other orders, freezing and unfreezing."""

import pytest
import torch
from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from reuse.optim.named_state import load_named_state, named_state
from reuse.optim.optimizers import OPTIMIZERS, OptimizerSettings, build_optimizer

NAMES = [
    *(n for n, entry in OPTIMIZERS.items() if not entry.refused and n != "muon"),
    "lamb",
    "adan",
    "lion",
    "madgrad",
]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def build(name: str, parameters: list[tuple[str, Parameter]], learning_rate: float = 0.01) -> Optimizer:
    return build_optimizer(
        OptimizerSettings(name, learning_rate, weight_decay=0.0 if name == "rprop" else 0.1), parameters
    )


def train(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for number in steps:
        draw = torch.Generator().manual_seed(number)
        model.zero_grad()
        model(torch.randn(8, 4, generator=draw, dtype=torch.float64)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_going_on_equals_never_having_stopped(name: str) -> None:
    model, other = network(), network()
    optimizer = build(name, list(model.named_parameters()))
    train(model, optimizer, range(4))
    state = named_state(optimizer, model.named_parameters())
    other.load_state_dict(model.state_dict())
    train(model, optimizer, range(4, 8))  # the state is a copy, so this must not move it

    again = build(name, list(other.named_parameters())[::-1])
    assert load_named_state(again, other.named_parameters(), state) == []
    train(other, again, range(4, 8))
    torch.testing.assert_close(dict(other.named_parameters()), dict(model.named_parameters()), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["adam", "momentum", "adagrad", "lamb"])
def test_what_is_new_starts_fresh_and_what_was_training_keeps_its_state(name: str) -> None:
    model = network()
    model[0].requires_grad_(False)
    optimizer = build(name, list(model.named_parameters()))
    train(model, optimizer, range(3))
    state = named_state(optimizer, model.named_parameters())
    assert set(state) == {"2.weight", "2.bias"}

    model[0].requires_grad_(True)
    wider = build(name, list(model.named_parameters()))
    assert load_named_state(wider, model.named_parameters(), state) == ["0.weight", "0.bias"]
    after = named_state(wider, model.named_parameters())
    for key in state:
        assert all(torch.equal(torch.as_tensor(after[key][k]), torch.as_tensor(state[key][k])) for k in state[key])
    train(model, wider, range(3, 5))


def test_what_is_frozen_now_is_left_out() -> None:
    model = network()
    optimizer = build("adam", list(model.named_parameters()))
    train(model, optimizer, range(3))
    state = named_state(optimizer, model.named_parameters())
    model[0].requires_grad_(False)
    narrower = build("adam", list(model.named_parameters()))
    assert load_named_state(narrower, model.named_parameters(), state) == []
    assert set(named_state(narrower, model.named_parameters())) == {"2.weight", "2.bias"}


def test_hyperparameters_stay_as_they_are_set_now() -> None:
    model = network()
    optimizer = build("adam", list(model.named_parameters()), learning_rate=0.5)
    train(model, optimizer, range(2))
    again = build("adam", list(model.named_parameters()), learning_rate=0.25)
    load_named_state(again, model.named_parameters(), named_state(optimizer, model.named_parameters()))
    assert {group["lr"] for group in again.param_groups} == {0.25}

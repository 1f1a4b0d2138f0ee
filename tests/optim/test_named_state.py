"""Optimizer state by name survives new objects, other orders, freezing and unfreezing."""

import importlib.util
import io
from typing import Any

import pytest
import torch
from timm.optim import list_optimizers
from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from reuse.optim.named_state import load_named_state, named_state
from reuse.optim.optimizers import OPTIMIZERS, OptimizerSettings, build_optimizer

ELSEWHERE = ("bnb", "fused", "adahessian")  # need CUDA libraries or second derivatives, and are refused
THEIRS = [name for name in list_optimizers() if name not in OPTIMIZERS and not name.startswith(ELSEWHERE)]
OURS = list(OPTIMIZERS)
WITH_LOOKAHEAD = ["lookahead_adam", "lookahead_lamb", "lookahead_momentum"]
KRON = pytest.mark.skipif(importlib.util.find_spec("opt_einsum") is None, reason="needs opt_einsum")
QUICK = {*OURS, *WITH_LOOKAHEAD, "lamb", "adan", "lion", "madgrad", "adafactorbv", "nmuon"}


def marked(name: str) -> Any:
    marks = [KRON] if name.startswith("kron") else []
    return pytest.param(name, marks=marks if name in QUICK else [*marks, pytest.mark.slow])


NAMES = [marked(name) for name in [*OURS, *THEIRS, *WITH_LOOKAHEAD, "rmsprop:centered=true"]]
TYPES = [torch.float64, pytest.param(torch.bfloat16, marks=pytest.mark.slow)]


def network(name: str = "", dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    if name == "muon":
        layers = [nn.Linear(16, 5, bias=False), nn.Tanh(), nn.Linear(5, 2, bias=False)]
        return nn.Sequential(nn.Flatten(), *layers).to(dtype)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 2)).to(
        dtype
    )


def build(name: str, parameters: list[tuple[str, Parameter]], learning_rate: float = 0.01) -> Optimizer:
    return build_optimizer(
        OptimizerSettings(name, learning_rate, weight_decay=0.0 if name == "rprop" else 0.1), parameters
    )


def train(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
    dtype = next(model.parameters()).dtype
    for number in steps:
        torch.manual_seed(number)  # some optimizers draw random numbers
        model.zero_grad()
        model(torch.randn(8, 1, 4, 4, dtype=dtype)).square().mean().backward()
        optimizer.step()


def stored(state: Any) -> Any:
    """Go to a file and back, as checkpoints do."""
    file = io.BytesIO()
    torch.save(state, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=True)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_going_on_equals_never_having_stopped(name: str, dtype: torch.dtype) -> None:
    model, other = network(name, dtype), network(name, dtype)
    rate = 0.01 if dtype == torch.float64 else 0.5 if "lar" in name else 0.02  # a smaller one is lost in rounding
    optimizer = build(name, list(model.named_parameters()), rate)
    train(model, optimizer, range(8))
    state = stored(named_state(optimizer, model.named_parameters()))
    other.load_state_dict(model.state_dict())
    train(model, optimizer, range(8, 16))

    backwards = -1 if "kron" not in name else 1  # it draws a random number for one parameter after the other
    again = build(name, list(other.named_parameters())[::backwards], rate)
    assert load_named_state(again, other.named_parameters(), state) == []
    train(other, again, range(8, 16))
    torch.testing.assert_close(dict(other.named_parameters()), dict(model.named_parameters()), rtol=0, atol=0)
    assert not torch.equal(next(model.parameters()), next(network(name, dtype).parameters()))


def test_the_state_is_a_copy() -> None:
    model = network()
    optimizer = build("adam", list(model.named_parameters()))
    train(model, optimizer, range(2))
    state = named_state(optimizer, model.named_parameters())
    kept = stored(state)
    train(model, optimizer, range(2, 4))
    load_named_state(optimizer, model.named_parameters(), state)
    train(model, optimizer, range(4, 6))
    torch.testing.assert_close(state, kept, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_new_starts_fresh_and_what_was_training_keeps_its_state(name: str) -> None:
    model = network(name)
    last = model[-1]
    model.requires_grad_(False)
    last.requires_grad_(True)
    optimizer = build(name, list(model.named_parameters()))
    train(model, optimizer, range(3))
    state = named_state(optimizer, model.named_parameters())
    assert set(state) - {""} == {n for n, p in model.named_parameters() if p.requires_grad}

    model.requires_grad_(True)
    wider = build(name, list(model.named_parameters()))
    fresh = load_named_state(wider, model.named_parameters(), state)
    assert fresh == [n for n, _ in build_order(wider, model) if n not in state]
    after = named_state(wider, model.named_parameters())
    torch.testing.assert_close({n: after[n] for n in state}, state, rtol=0, atol=0)
    train(model, wider, range(3, 8))
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def build_order(optimizer: Optimizer, model: nn.Module) -> list[tuple[str, Parameter]]:
    names = {id(p): n for n, p in model.named_parameters()}
    return [(names[id(p)], p) for group in optimizer.param_groups for p in group["params"]]


def test_what_is_frozen_now_is_left_out() -> None:
    model = network()
    optimizer = build("adam", list(model.named_parameters()))
    train(model, optimizer, range(3))
    state = named_state(optimizer, model.named_parameters())
    model[0].requires_grad_(False)
    model[3].requires_grad_(False)
    narrower = build("adam", list(model.named_parameters()))
    assert load_named_state(narrower, model.named_parameters(), state) == []
    assert set(named_state(narrower, model.named_parameters())) == {"5.weight", "5.bias"}


def test_hyperparameters_stay_as_they_are_set_now() -> None:
    model = network()
    optimizer = build("adam", list(model.named_parameters()), learning_rate=0.5)
    train(model, optimizer, range(2))
    again = build("adam", list(model.named_parameters()), learning_rate=0.25)
    load_named_state(again, model.named_parameters(), named_state(optimizer, model.named_parameters()))
    assert {group["lr"] for group in again.param_groups} == {0.25}

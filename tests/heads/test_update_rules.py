"""Updates that are written out are torch's own, step by step."""

import pytest
import torch
from torch import nn

from reuse.heads.update_rules import Moments, update_rule
from reuse.optim.groups import OptimizerSettings
from reuse.optim.optimizers import build_optimizer

WRITTEN_OUT = [
    OptimizerSettings("sgd", 0.1),
    OptimizerSettings("momentum", 0.1, 0.7),
    OptimizerSettings("nesterov", 0.1),
    OptimizerSettings("adam", 0.1),
    OptimizerSettings("adam:betas=0.5/0.8,eps=0.1", 0.1),
    OptimizerSettings("adamw:eps=1e-3", 0.1),
]


@pytest.mark.parametrize("settings", WRITTEN_OUT, ids=lambda settings: settings.name)
def test_equal_to_torch(settings: OptimizerSettings) -> None:
    torch.manual_seed(0)
    rule, moments = update_rule(settings), Moments()
    assert rule is not None
    parameter = nn.Parameter(torch.randn(4, 3, dtype=torch.float64))
    weights, optimizer = parameter.detach().clone(), build_optimizer(settings, [("weight", parameter)])
    for step in range(20):
        gradient = torch.randn_like(weights)
        gradient[0] *= step % 2  # zeros now and then
        gradient[1] = 0
        parameter.grad = gradient.clone()
        optimizer.step()
        update, factor = rule.update(gradient, moments)
        weights -= 0.1 * factor * update
        torch.testing.assert_close(weights, parameter.detach(), rtol=0, atol=1e-13)
    assert moments.steps == 20


@pytest.mark.parametrize("name", ["rmsprop", "adam:amsgrad=true", "momentum:dampening=0.5", "nadam"])
def test_others_are_left_to_torch(name: str) -> None:
    assert update_rule(OptimizerSettings(name, 0.1)) is None

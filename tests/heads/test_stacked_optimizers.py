"""Steps of many heads at once are those that torch's own optimizers take for each, step by step."""

import pytest
import torch
from torch import nn

from reuse.heads.stacked_optimizers import STACKABLE, StackedOptimizer, arranged
from reuse.optim.groups import OptimizerSettings
from reuse.optim.optimizers import build_optimizer

SETTINGS = [
    *[OptimizerSettings(name, 0.1, None, 0.01) for name in STACKABLE],
    OptimizerSettings("momentum", 0.1, 0.7),
    OptimizerSettings("momentum:dampening=0.5", 0.1),
    OptimizerSettings("adam:betas=0.5/0.8,eps=0.1", 0.1),
    OptimizerSettings("adam:amsgrad=true", 0.1),
    OptimizerSettings("adamw:eps=1e-3", 0.1, None, 0.3),
]


@torch.no_grad()
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: f"{settings.name} {settings.momentum}")
def test_equal_to_torch(settings: OptimizerSettings) -> None:
    torch.manual_seed(0)
    start = {"weight": torch.randn(4, 3, dtype=torch.float64), "bias": torch.randn(4, dtype=torch.float64)}
    alone = [{name: nn.Parameter(tensor.clone()) for name, tensor in start.items()} for _ in range(3)]
    theirs = [build_optimizer(settings, list(own.items())) for own in alone]
    weights = {name: tensor.repeat(3, *[1] * tensor.ndim) for name, tensor in start.items()}
    masks = [0, 0, 1]
    ours = StackedOptimizer(weights, ["weight"], [settings] * 3, masks)
    for step in range(20):
        moves = [True, step % 3 == 1]
        gradients = {name: torch.randn_like(tensor) for name, tensor in weights.items()}
        gradients["weight"][:, 0] *= step % 2  # zeros now and then
        gradients["weight"][:, 1] = 0
        for head, (own, optimizer) in enumerate(zip(alone, theirs, strict=True)):
            for name, parameter in own.items():
                parameter.grad = gradients[name][head].clone()
            if moves[masks[head]]:
                optimizer.step()
        ours.step(gradients, torch.full((3,), settings.learning_rate, dtype=torch.float64), moves)
        for head, own in enumerate(alone):
            for name, parameter in own.items():
                torch.testing.assert_close(weights[name][head], parameter.detach(), rtol=0, atol=1e-13)


def test_heads_that_move_together_lie_side_by_side() -> None:
    optimizers = [
        OptimizerSettings(name, 0.1, momentum) for name in ("nesterov", "momentum") for momentum in (0.5, 0.9)
    ]
    order = arranged(optimizers * 2, [0] * 4 + [1] * 4)
    assert sorted(order) == list(range(8))
    assert arranged([optimizers[0]] * 3, [1, 0, 1]) == [1, 0, 2]

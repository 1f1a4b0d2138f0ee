"""Where the momentum of each kind of optimizer is."""

import pytest
import torch
from torch import nn

from reuse.optim.one_cycle import set_momentum
from reuse.optim.optimizers import OptimizerSettings, build_optimizer


def build(name: str) -> torch.optim.Optimizer:
    return build_optimizer(OptimizerSettings(name, weight_decay=0.1), list(nn.Linear(2, 2).named_parameters()))


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_momentum_is_set_in_every_group(name: str) -> None:
    optimizer = build(name)
    assert set_momentum(optimizer, 0.6)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.6, 0.6]


def test_the_first_beta_is_adams_momentum() -> None:
    optimizer = build("nadam:betas=0.8/0.99")
    assert set_momentum(optimizer, 0.6)
    assert [group["betas"] for group in optimizer.param_groups] == [(0.6, 0.99), (0.6, 0.99)]


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adagrad"])
def test_no_momentum_stays_none(name: str) -> None:
    optimizer = build(name)
    before = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    assert not set_momentum(optimizer, 0.6)
    assert before == [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]

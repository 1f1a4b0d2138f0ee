"""Switching dropout off alone: the same output twice, and batch norms that train on."""

import pytest
import torch
from torch import nn

from reuse.nn.building import build
from reuse.training.dropout import switch_off_dropout

ROWS = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_timm_models_drop_no_more_and_their_norms_train_on(name: str) -> None:
    model = build(f"timm:{name}", (3, 32, 32), 3, dropout=0.5, drop_path=0.3).train()
    assert not torch.equal(model(ROWS), model(ROWS))
    switch_off_dropout(model)
    assert torch.equal(model(ROWS), model(ROWS))
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.training for norm in norms)
    model.train()
    assert not torch.equal(model(ROWS), model(ROWS))


def test_connections_between_hidden_states_drop_no_more() -> None:
    model = build("lstm:4", (6, 5), 2, recurrent_dropout=0.5, dropout=0.3).train()
    rows = torch.randn(3, 6, 5)
    assert not torch.equal(model(rows), model(rows))
    switch_off_dropout(model)
    assert torch.equal(model(rows), model(rows))

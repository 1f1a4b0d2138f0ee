import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reuse.errors import UsageError
from reuse.layers.freezing import freeze, frozen, hold, unfreeze


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)),
        nn.Dropout(0.5),
        nn.Linear(8, 8),
        nn.Dropout(0.5),
        nn.Linear(8, 2),
    )


@pytest.mark.parametrize("zero_to_none", [True, False])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_frozen_layers_stay_bit_identical_and_deterministic(optimizer: type, zero_to_none: bool) -> None:
    model = network()
    freeze(model, "0,2")
    before = copy.deepcopy({**model[0].state_dict(), **{"2." + k: v for k, v in model[2].state_dict().items()}})
    settings = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if optimizer is torch.optim.SGD else {})
    step = optimizer([p for p in model.parameters() if p.requires_grad], **settings)
    inputs = torch.randn(16, 4)
    features = model.train()[0](inputs)
    for _ in range(20):
        model.train()
        step.zero_grad(set_to_none=zero_to_none)
        F.cross_entropy(model(inputs), torch.arange(16) % 2).backward()
        step.step()
    after = {**model[0].state_dict(), **{"2." + k: v for k, v in model[2].state_dict().items()}}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(features, model[0](inputs))


def test_modules_without_parameters_go_with_their_surroundings() -> None:
    model = network()
    freeze(model, "0,2")
    model.train()
    assert not model[0][3].training, "inside a frozen layer"
    assert not model[1].training, "every path from it meets a frozen layer first"
    assert model[3].training, "it feeds a layer that trains"


def test_a_dropout_used_before_frozen_and_trainable_layers_stays_live() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.drop = nn.Linear(4, 4), nn.Linear(4, 4), nn.Dropout()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.drop(self.a(self.drop(x))))

    model = Shared()
    freeze(model, "a")
    assert model.train().drop.training


@pytest.mark.parametrize("wake", [lambda m: m.train(), lambda m: m[0].train(), lambda m: m.apply(lambda x: x.train())])
def test_evaluation_mode_survives_every_way_to_train(wake) -> None:
    model = network()
    freeze(model, "0")
    wake(model)
    assert not any(m.training for m in model[0].modules())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_freezing_survives_copying_and_pickling(duplicate) -> None:
    model = network()
    freeze(model, "0")
    other = duplicate(model)
    other.train()
    assert not other[0][1].training
    assert frozen(other) == frozen(model)
    unfreeze(other)
    assert other.train()[0][1].training
    assert not model.train()[0][1].training, "the copy holds itself, not the original"


def test_unfreezing_in_part() -> None:
    model = network()
    freeze(model, "0,2")
    left = unfreeze(model, "0")
    assert left.layers == ("2",)
    assert model.train()[0][1].training
    assert not model[1].training, "a frozen layer still follows it"
    unfreeze(model)
    assert model.train()[1].training


def test_hold_follows_flags_set_by_hand() -> None:
    model = network()
    model[0].requires_grad_(False)
    assert model.train()[0][1].training, "the field's commonest bug"
    hold(model)
    assert not model.train()[0][1].training


def test_a_partly_frozen_layer_is_not_held() -> None:
    model = network()
    freeze(model, "0.0")
    model.train()
    assert not model[0][0].training
    assert model[0][1].training


def test_tied_parameters_are_frozen_together() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    assert {"0.weight", "1.weight"} <= set(freeze(model, "0").parameters)


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing would train"):
        freeze(network(), "*")
    model = network()
    freeze(model, "0,2")
    with pytest.raises(UsageError, match="nothing would train"):
        freeze(model, "4")


def test_batch_statistics_without_parameters_inside_a_frozen_layer_do_not_move() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False)), nn.Linear(4, 2))
    freeze(model, "0")
    model.train()(torch.randn(8, 4))
    assert model[0][1].num_batches_tracked == 0

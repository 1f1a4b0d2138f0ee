"""Batch-norm statistics: those of all rows to the last digit, and untouched where they are to be kept."""

import torch
from torch import nn

from reuse.data.rows import Batch
from reuse.layers.freezing import freeze
from reuse.training.statistics import batch_statistics, compute_statistics, kept_statistics

ROWS = torch.randn(37, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 1


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3), nn.BatchNorm1d(3)]
    return nn.Sequential(*layers).double()


def batches() -> list[Batch]:
    return [Batch((rows,)) for rows in ROWS.split(10)]  # the last one of 7 rows


def test_the_first_norm_has_the_moments_of_all_rows() -> None:
    model = network()
    assert compute_statistics(model, model, batches()) == 2
    entered = model[0](ROWS)
    torch.testing.assert_close(model[1].running_mean, entered.mean(0).detach())
    torch.testing.assert_close(model[1].running_var, entered.var(0).detach())  # unbiased, as torch keeps it


def test_the_second_norm_sees_batches_normalised_by_themselves_without_dropout() -> None:
    model = network()
    compute_statistics(model, model, batches())
    with torch.no_grad():
        hidden = [model[0](rows) for rows in ROWS.split(10)]
        normalised = [(h - h.mean(0)) / (h.var(0, unbiased=False) + model[1].eps).sqrt() for h in hidden]
        entered = torch.cat([model[4](torch.relu(rows)) for rows in normalised])
    torch.testing.assert_close(model[5].running_mean, entered.mean(0))
    torch.testing.assert_close(model[5].running_var, entered.var(0))


def test_modes_and_frozen_norms_stay_as_they_were() -> None:
    model = network()
    freeze(model, "0,1")
    before = {name: tensor.clone() for name, tensor in model[1].state_dict().items()}
    model.eval()
    assert compute_statistics(model, model, batches()) == 1
    assert not any(module.training for module in model.modules())
    for name, tensor in model[1].state_dict().items():
        assert torch.equal(tensor, before[name])


def test_kept_statistics_do_not_move_and_move_again_afterwards() -> None:
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.named_buffers()}
    with kept_statistics(model):
        model(ROWS)
    for name, tensor in model.named_buffers():
        assert torch.equal(tensor, before[name]), name
    model(ROWS)
    assert model[1].momentum == 0.1
    assert int(model[1].num_batches_tracked) == 1
    assert not torch.equal(model[1].running_mean, before["1.running_mean"])


def test_statistics_are_named() -> None:
    names = ["1.running_mean", "1.running_var", "5.running_mean", "5.running_var"]
    assert list(batch_statistics(network().train())) == names
    assert batch_statistics(network().eval()) == {}

"""Max-norm against torch.renorm and its property: no unit's incoming weights are longer than the limit."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from reuse.errors import UsageError
from reuse.optim.constraints import max_norm

LIMIT = 0.6


def made(layer: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(layer(), nn.BatchNorm1d(4))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Linear(9, 4),
        lambda: nn.Conv2d(4, 6, 3),
        lambda: nn.Conv1d(4, 6, 3, groups=2),
    ],
)
def test_it_is_torchs_renorm(layer: Callable[[], nn.Module]) -> None:
    model = made(layer)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    max_norm(LIMIT)(model)
    assert torch.equal(model[0].weight, torch.renorm(before["0.weight"], 2, 0, LIMIT))
    assert not torch.equal(model[0].weight, before["0.weight"])
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters() if name != "0.weight")


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_is_bounded_by_the_weights_that_enter_each_output(groups: int) -> None:
    model = made(lambda: nn.ConvTranspose2d(4, 6, 3, groups=groups, bias=False))
    with torch.no_grad():
        model[0].weight.mul_(5)
    max_norm(LIMIT)(model)
    inputs = torch.eye(4 * 9).reshape(36, 4, 3, 3)  # one impulse at a time: the outputs at the middle are the weights
    entering = model[0](inputs)[:, :, 2, 2]
    assert entering.norm(dim=0).tolist() == pytest.approx([LIMIT] * 6, abs=1e-5)


def test_every_matrix_of_recurrent_and_attention_layers_is_bounded() -> None:
    for model in (made(lambda: nn.LSTM(9, 8)), made(lambda: nn.MultiheadAttention(8, 2))):
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(5)
        biases = {name: p.detach().clone() for name, p in model.named_parameters() if p.ndim == 1}
        max_norm(LIMIT)(model)
        for name, p in model.named_parameters():
            if p.ndim == 2:
                assert float(p.detach().norm(dim=1).max()) <= LIMIT + 1e-6, name
            else:
                assert torch.equal(p, biases[name])


def test_a_weight_normed_layer_is_bounded_in_what_it_computes() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(9, 4)))
    with torch.no_grad():
        model[0].parametrizations.weight.original0.copy_(torch.tensor([[-3.0], [0.1], [2.0], [0.5]]))
    max_norm(LIMIT)(model)
    assert model[0].weight.norm(dim=1).tolist() == pytest.approx([LIMIT, 0.1, LIMIT, 0.5], abs=1e-6)
    assert float(model[0].parametrizations.weight.original0[0].detach()) < 0


def test_what_is_short_enough_and_what_is_frozen_stay_bit_for_bit() -> None:
    model = nn.Sequential(nn.Linear(9, 4), nn.Linear(4, 4), parametrizations.weight_norm(nn.Linear(4, 4)))
    with torch.no_grad():
        model[0].weight.mul_(0.01)
        model[1].weight.mul_(100)
        model[2].parametrizations.weight.original0.mul_(100)
    model[1].requires_grad_(False)
    model[2].requires_grad_(False)
    before = [p.detach().clone() for p in model.parameters()]
    max_norm(LIMIT)(model)
    assert all(torch.equal(p, kept) for p, kept in zip(model.parameters(), before, strict=True))


def test_weights_that_follow_others_and_are_not_trained_are_left_alone() -> None:
    model = nn.ModuleDict({"trained": nn.Linear(9, 4), "teacher": nn.Linear(9, 4)})
    for name, parameter in list(model["teacher"].named_parameters()):
        delattr(model["teacher"], name)
        model["teacher"].register_buffer(name, parameter.detach().clone())
    before = model["teacher"].weight.clone()
    max_norm(0.5)(model)
    assert bool((model["trained"].weight.norm(dim=1) <= 0.5 + 1e-6).all())
    assert torch.equal(model["teacher"].weight, before)


def test_names_choose_layers_and_what_is_below_them() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(9, 4)), nn.Linear(4, 4))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(100)
    before = model[1].weight.detach().clone()
    max_norm(LIMIT, names=["0"])(model)
    assert torch.equal(model[1].weight, before)
    assert float(model[0][0].weight.detach().norm(dim=1).max()) <= LIMIT + 1e-6


@pytest.mark.parametrize(
    ("model", "names", "said"),
    [
        (nn.Sequential(parametrizations.spectral_norm(nn.Linear(9, 4))), None, "cannot bound 0.*SpectralNorm"),
        (nn.Sequential(parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")), None, "cannot bound 0"),
        (nn.Sequential(parametrizations.weight_norm(nn.ConvTranspose1d(3, 4, 2))), None, "cannot bound 0"),
        (nn.Sequential(nn.utils.spectral_norm(nn.Linear(9, 4))), None, "cannot bound 0"),
        (nn.Sequential(nn.BatchNorm1d(4)), None, "nothing to bound"),
        (nn.Sequential(nn.Linear(9, 4), nn.ReLU()), ["1"], "none below it"),
        (nn.Sequential(nn.Linear(9, 4)), ["hidden"], "'hidden'"),
    ],
)
def test_what_cannot_be_bounded_is_refused(model: nn.Module, names: list[str] | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        max_norm(LIMIT, names)(model)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_limit_is_refused(limit: float) -> None:
    with pytest.raises(UsageError, match="above 0"):
        max_norm(limit)

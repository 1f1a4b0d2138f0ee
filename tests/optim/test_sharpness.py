"""The perturbation against the paper's formula, and the way back."""

import pytest
import torch
from torch import nn

from reuse.optim.sharpness import perturbed


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    model(torch.randn(8, 4)).square().mean().backward()
    return model


def test_it_goes_uphill_by_rho() -> None:
    model = network()
    before = torch.cat([p.detach().flatten().double() for p in model.parameters()])
    gradient = torch.cat([p.grad.flatten().double() for p in model.parameters()])
    with perturbed(list(model.parameters()), 0.5):
        moved = torch.cat([p.detach().flatten().double() for p in model.parameters()]) - before
    torch.testing.assert_close(moved, 0.5 * gradient / gradient.norm(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("fails", [False, True])
def test_the_parameters_come_back_bit_for_bit(fails: bool) -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(ZeroDivisionError) if fails else torch.enable_grad(), perturbed(list(model.parameters()), 0.7):
        model.zero_grad(set_to_none=True)
        model(torch.ones(8, 4)).square().mean().backward()
        assert not torch.equal(model[0].weight, before[0])
        if fails:
            raise ZeroDivisionError
    assert all(torch.equal(p, kept) for p, kept in zip(model.parameters(), before, strict=True))


def test_the_gradients_are_those_taken_within() -> None:
    model, other = network(), network()
    norm = torch.cat([p.grad.flatten() for p in other.parameters()]).norm()
    with torch.no_grad():
        for p in other.parameters():
            p += 0.3 * p.grad / norm
    for net in (model, other):
        with perturbed(list(model.parameters()), 0.3 if net is model else 0.0):
            net.zero_grad(set_to_none=True)
            net(torch.ones(8, 4)).square().mean().backward()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_what_has_no_gradient_or_a_zero_one_stays() -> None:
    model = network()
    model[0].weight.grad = None
    for p in model.parameters():
        if p.grad is not None:
            p.grad.zero_()
    before = [p.detach().clone() for p in model.parameters()]
    with perturbed(list(model.parameters()), 0.3):
        assert all(torch.equal(p, kept) for p, kept in zip(model.parameters(), before, strict=True))

"""Forwards whose gradient is not that of their values: it must come out of a cut as it is, or the cut is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from exact_cuts import ROWS, Case, ThreeLayers, doubled, hold_to_model
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze

X = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(0)).double()


class Reversed(torch.autograd.Function):
    """Gradient reversal (Ganin et al. 2016, https://arxiv.org/abs/1505.07818)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


class Rounded(torch.autograd.Function):
    """Straight-through rounding (Bengio et al. 2013, https://arxiv.org/abs/1308.3432)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(4 * x) / 4

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class Domain(ThreeLayers):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.b(self.a(x).relu())
        return y, self.c(Reversed.apply(y, 0.7))


class StraightThrough(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(Rounded.apply(self.b(self.a(x))))


class Rounding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Rounded.apply(x)


class NoGradTarget(ThreeLayers):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.a(x)
        with torch.no_grad():
            target = self.c(self.b(y)) * 2
        return self.b(y), self.b(y).tanh() - target


class NoGradMethod(ThreeLayers):
    @torch.no_grad()
    def target(self, y: Tensor) -> Tensor:
        return self.c(y).softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.b(y) - self.target(y)


class GradOff(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        with torch.set_grad_enabled(False):
            gate = torch.sigmoid(y)
        return self.c(y * gate)


class InferenceBlock(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        with torch.inference_mode():
            size = self.b(y).abs().mean(1, keepdim=True)
        return self.c(self.b(y)) + size.clone()


class Detached(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        return self.c(y) + y.detach().square()


class DetachedInPlace(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        gate = self.b(y).sigmoid()
        gate.detach_()
        return self.c(y * gate)


class TensorHook(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        if y.requires_grad:
            y.register_hook(lambda gradient: -2 * gradient)
        return self.c(y)


class HookAlways(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        with torch.enable_grad():
            z = y * 1
            _ = z.register_hook(torch.neg) if torch.is_grad_enabled() and self.training else None
        return self.c(z)


class Checkpointed(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.c(checkpoint(self.b, y, use_reentrant=False))


class Vmapped(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        return self.c(torch.vmap(lambda row: row * row.sum())(y))


class SwapsByMode(ThreeLayers):
    """Uses the straight-through estimator while training alone."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        y = Rounded.apply(y) if self.training else torch.round(4 * y) / 4
        return self.c(y)


class Energy(ThreeLayers):
    """Differentiates inside its forward."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        with torch.enable_grad():
            point = y.detach().requires_grad_(True)
            energy = self.c(self.b(point).tanh()).sum()
            (force,) = torch.autograd.grad(energy, point, create_graph=self.training)
        return force


class FrozenFunction(ThreeLayers):
    """The function lies in front of the cut, where no gradient passes."""

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(F.relu(Rounded.apply(self.a(x)))))


def mixed(*layers: nn.Module) -> nn.Module:
    inner = nn.Sequential(nn.Linear(4, 4), *layers, nn.Linear(4, 4))
    return doubled(nn.Linear(4, 4), inner, nn.Linear(4, 2))


class BranchingFunction(nn.Module):
    """A straight-through layer that torch.fx cannot enter, and torch.export loses."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return Rounded.apply(self.b(self.a(x))) if x.sum() > -1e9 else x


CASES = {
    "gradient reversal": Case(Domain, "a", (X,), frontier=[(4,)]),
    "straight-through": Case(StraightThrough, "a", (X,), frontier=[(4,)]),
    "straight-through by mode": Case(SwapsByMode, "a", (X,), frontier=[(4,)]),
    "a function in front": Case(FrozenFunction, "a", (X,), frontier=[(4,)]),
    "a function in a mixed child": Case(lambda: mixed(Rounding(), nn.Linear(4, 4)), "0,1.0", (X,), frontier=[(4,)]),
    "a function in an untraceable child": Case(lambda: mixed(BranchingFunction()), "0,1.0,1.1.a", (X,)),
    "a no-grad target": Case(NoGradTarget, "a", (X,), frontier=[(4,)]),
    "a no-grad method": Case(NoGradMethod, "a", (X,), frontier=[(4,)]),
    "gradients switched off": Case(GradOff, "a", (X,), frontier=[(4,)]),
    "inference mode": Case(InferenceBlock, "a", (X,), frontier=[(4,)]),
    "detached": Case(Detached, "a", (X,), frontier=[(4,)]),
    "detached in place": Case(DetachedInPlace, "a", (X,), frontier=[(4,)]),
    "a tensor hook": Case(TensorHook, "a", (X,), frontier=[(4,)]),
    "a tensor hook while training": Case(HookAlways, "a", (X,), "calling it failed: .* hook"),
    "checkpointed": Case(Checkpointed, "a", (X,)),
    "vmap": Case(Vmapped, "a", (X,), frontier=[(4,)]),
    "a gradient inside": Case(Energy, "a", (X,), frontier=[(4,)]),
}


class NormedBySize(nn.Module):
    """Has a bias whose gradient is 0 but for rounding, and a forward that torch.export alone can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm, self.c = nn.Linear(10, 12), nn.Linear(12, 9), nn.BatchNorm1d(9), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu()
        return self.c(y if x.shape[-1] % 2 else self.norm(self.b(y)).relu())


@pytest.mark.parametrize("seed", range(6))
def test_a_gradient_that_is_but_rounding_refuses_no_cut(seed: int) -> None:
    torch.manual_seed(seed)
    model, x = NormedBySize(), torch.randn(8, 10)
    freeze(model, "a")
    parts = cut(model, x)
    torch.testing.assert_close(parts.suffix.eval()(*parts.prefix(x)), model.eval()(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_exact_or_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    hold_to_model(CASES[name])
    assert capfd.readouterr() == ("", "")  # no graphs, no notes of torch's

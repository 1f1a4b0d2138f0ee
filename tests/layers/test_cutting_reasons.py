"""Why a model is not cut, in words that are true of it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from exact_cuts import ROWS, Case, ThreeLayers, hold_to_model

X = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1)).double()
SEQUENCES = torch.randn(ROWS, 5, 4, generator=torch.Generator().manual_seed(2)).double()
LENGTHS = torch.tensor([2, 5, 3, 1, 4, 5, 2])


class RowByRow(ThreeLayers):
    """Rows are taken apart before a frozen layer, and put together again in one of several ways."""

    def __init__(self, together: Any) -> None:
        super().__init__()
        self.together = together

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.together([self.a(row) for row in x.unbind(0)])).mean(1)


class OwnLengths(ThreeLayers):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.b(torch.stack([self.a(x[row, : lengths[row]]).mean(0) for row in range(x.shape[0])]))


class GivenNoise(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x * torch.bernoulli(torch.full_like(x, 0.5))))


class GivenMixed(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x - x.mean(0)))


class GivenOtherInTraining(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(2 * x if self.training else x))


class GivenTrained(ThreeLayers):
    """A layer that trains comes first, and noise beside it."""

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(self.c(x) + torch.rand_like(x)))


class KeptByHook(ThreeLayers):
    """A hook keeps what a frozen layer returns, and the forward takes it from there."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Tensor] = {}
        self.a.register_forward_hook(self.keep)

    def keep(self, module: nn.Module, given: Any, value: Tensor) -> None:
        self.kept["a"] = value

    def forward(self, x: Tensor) -> Tensor:
        self.a(x)
        return self.c(self.kept["a"])


class Handed:
    """An object that holds a tensor and says nothing of itself."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


class HandsOver(nn.Module):
    """A layer that returns something made of its values."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.linear, self.made = nn.Linear(4, 4).double(), made

    def forward(self, x: Tensor) -> Any:
        return self.made(self.linear(x))


class ReadsHanded(nn.Module):
    """A layer that takes such an object."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).double()

    def forward(self, handed: Handed) -> Tensor:
        return self.linear(handed.value)


class TakesOver(ThreeLayers):
    """A frozen layer hands over something that is read before the layer that trains."""

    def __init__(self, made: Any, read: Any) -> None:
        super().__init__()
        self.first, self.read = HandsOver(made), read

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.read(self.first(x)))


ONE_BY_ONE = (
    "^the model cannot be cut: (torch.fx: )?its forward does something else for some numbers of rows, or goes through "
    "them one"
)

CASES = {
    "rows padded": Case(
        lambda: RowByRow(lambda rows: nn.utils.rnn.pad_sequence(rows, batch_first=True)), "a", (SEQUENCES,), ONE_BY_ONE
    ),
    "rows stacked": Case(lambda: RowByRow(torch.stack), "a", (SEQUENCES,), ONE_BY_ONE),
    "rows of own lengths": Case(OwnLengths, "a", (SEQUENCES, LENGTHS), ONE_BY_ONE),
    "given noise": Case(GivenNoise, "a", (X,), "^the frozen layer 'a' .*: what comes before it draws random numbers$"),
    "given mixed rows": Case(GivenMixed, "a", (X,), "'a' cannot be cached: what comes before it mixes the rows"),
    "given other values in training": Case(
        GivenOtherInTraining, "a", (X,), "'a' .*: what comes before it computes something else while training"
    ),
    "given what trains": Case(GivenTrained, "a", (X,), "no frozen layer comes before the first layer that trains"),
    "an object": Case(
        lambda: TakesOver(Handed, ReadsHanded()),
        "first",
        (X,),
        "'first' cannot be cached: it returns an object of Handed, which cannot be stored row by row",
    ),
    "kept by a hook": Case(KeptByHook, "a", (X,), "what the frozen layer 'a' returns is not used, or .* by a hook"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_with_the_reason(name: str) -> None:
    hold_to_model(CASES[name])

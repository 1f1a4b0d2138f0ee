"""Counters and logs that a forward keeps and does not read: cut, and they go on; those that it reads: refused."""

import pytest
import torch
from torch import Tensor, nn

from exact_cuts import ROWS, Case, ThreeLayers, hold_to_model
from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze

X = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1)).double()


class Counting(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.calls, self.log = 0, list[float]()

    def rows(self, hidden: Tensor) -> Tensor:
        return torch.stack([self.b(row) for row in hidden])


class CountsCalls(Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.rows(self.a(x))


class CountsByAssigning(Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return self.rows(self.a(x))


class Logs(Counting):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x)
        self.log.append(float(hidden.detach().mean()))
        return self.rows(hidden)


class GoesByCalls(Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        hidden = self.a(x)
        return self.rows(hidden if self.calls < 1000 else -hidden)


class GoesByLog(Counting):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x)
        self.log.append(1.0)
        return self.rows(hidden if len(self.log) < 1000 else -hidden)


class GoesByNextCall(Counting):
    """It reads what the call before counted, in another method."""

    def sign(self) -> int:
        return 1 if self.calls < 1000 else -1

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.rows(self.a(x)) * self.sign()
        self.calls += 1
        return hidden


class GoesByHelper(Counting):
    """Another function reads it."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.rows(self.a(x)) * sign_of(self)


def sign_of(model: nn.Module) -> int:
    return 1 if model.calls < 1000 else -1  # type: ignore[operator]


@pytest.mark.parametrize("kind", [CountsCalls, CountsByAssigning, Logs])
def test_what_a_forward_only_keeps_is_no_reason_to_refuse_it(kind: type[Counting]) -> None:
    hold_to_model(Case(kind, "a", (X,), frontier=[(4,)]))


@pytest.mark.parametrize("kind", [CountsCalls, CountsByAssigning, Logs])
def test_behind_a_cut_it_goes_on(kind: type[Counting]) -> None:
    model = kind()
    freeze(model, "a")
    parts = cut(model, X)
    assert (model.calls, model.log) == (0, []), "finding the cut left something behind"
    for _ in range(3):
        parts.suffix(*parts.prefix(X))
    assert model.calls + len(model.log) == 3


@pytest.mark.parametrize("kind", [GoesByCalls, GoesByLog, GoesByNextCall, GoesByHelper])
def test_what_is_read_again_is_refused(kind: type[Counting]) -> None:
    model = kind()
    freeze(model, "a")
    with pytest.raises(CutError, match="cannot be cut"):
        cut(model, X)

"""Cuts behind which a model's own forward runs, as it is no graph: exact, or refused, or an error with what to do."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from exact_cuts import ROWS, Case, ThreeLayers, build, hold_to_model, picked
from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.layers.suffix import called_and_read

X = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1)).double()
SEQUENCES = torch.randn(ROWS, 5, 4, generator=torch.Generator().manual_seed(2)).double()
LENGTHS = torch.tensor([2, 5, 3, 1, 4, 5, 2])


class RowByRow(ThreeLayers):
    """Rows are gone through one by one behind the frozen layer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.stack([self.b(row) for row in self.a(x)]))


class OwnLengths(ThreeLayers):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        hidden = self.a(x)
        return self.b(torch.stack([hidden[row, : lengths[row]].mean(0) for row in range(x.shape[0])]))


class BranchesOnValues(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return torch.cat([self.b(row[None]) if row.sum() > 0 else self.c(row[None]) for row in y])


class Chained(nn.Module):
    """Frozen layers in a row with one without parameters between, and a step of Python's behind."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList([nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)]).double()
        self.head = nn.Linear(3, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.body:
            x = layer(x)
        return torch.stack([self.head(row) for row in x])


class Skips(ThreeLayers):
    """What the forward reads of the input is stored too."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.b(row) + given for row, given in zip(self.a(x), x, strict=True)])


class Twice(ThreeLayers):
    """One frozen layer is called on two inputs."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([self.b(one - other) for one, other in zip(self.a(x), self.a(y), strict=True)])


class Hands(ThreeLayers):
    """A frozen layer returns a dictionary, which another one takes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = GivesDictionary(), TakesDictionary()

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.c(row) for row in self.second(self.first(x))])


class GivesDictionary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).double()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"up": self.linear(x), "down": -self.linear(x)}


class TakesDictionary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).double()

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        return self.linear(given["up"]).tanh() * given["down"]


class Collects(ThreeLayers):
    """A hook of a frozen layer puts what it returns where the forward finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.a.register_forward_hook(self.collect)
        self.found: list[Tensor] = []

    def collect(self, module: nn.Module, given: Any, value: Tensor) -> None:
        self.found.append(value)

    def forward(self, x: Tensor) -> Tensor:
        self.a(x)
        return torch.stack([self.b(row) for row in self.found.pop()])


class InBuffers(ThreeLayers):
    """A batch norm that trains behind a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(4).double(), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(torch.stack([self.b(row) for row in self.a(x)])))


class WritesInto(ThreeLayers):
    """Rows of a frozen layer are written into."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        for row in y:
            row.clamp_(min=0)
        return self.b(y)


class WritesFirst(ThreeLayers):
    """The input is written into before the frozen layer takes it, by a step that no graph holds."""

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(float(self.b.weight.detach().sum()))
        return self.b(self.a(x))


class OnceMore(ThreeLayers):
    """The frozen layer is called anew on what trains."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.a(self.b(row)) for row in self.a(x)])


class ByChance(ThreeLayers):
    """Chance decides what the frozen layer is given."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and random.random() < 0.5:
            x = x * 2
        return self.b(self.a(x))


class BehindWhatTrains(ThreeLayers):
    """A frozen layer is given what trains, without gradients."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.c(row) for row in self.a(self.b(x).detach())])


CASES = {
    "row by row": Case(RowByRow, "a", (X,), frontier=[(4,)]),
    "rows of own lengths": Case(OwnLengths, "a", (SEQUENCES, LENGTHS), frontier=[(5, 4), ()]),
    "branches on values": Case(BranchesOnValues, "a", (X,), frontier=[(4,)]),
    "layers in a row": Case(Chained, "body", (X,), frontier=[(3,)]),
    "half of the layers in a row": Case(Chained, "body.0", (X,), frontier=[(6,)]),
    "an input that is read": Case(Skips, "a", (X,), frontier=[(4,), (4,)]),
    "two calls": Case(Twice, "a", (X, X.flip(0)), frontier=[(4,), (4,)]),
    "two calls on one input": Case(lambda: Around(Twice()), "inner.a", (X,), frontier=[(4,)]),
    "by keywords": Case(Twice, "a", {"y": X, "x": X.flip(0)}, frontier=[(4,), (4,)]),
    "a dictionary": Case(Hands, "first", (X,), frontier=[(4,), (4,)]),
    "a dictionary handed on": Case(Hands, "first,second", (X,), frontier=[(4,)]),
    "buffers and dropout": Case(InBuffers, "a", (X,), frontier=[(4,)]),
    "what is written into": Case(WritesInto, "a", (X,), frontier=[(4,)]),
    "called again": Case(OnceMore, "a", (X,), frontier=[(4,)]),
    "an input that is written into": Case(WritesFirst, "a", (X,), "cannot be followed"),
    "a hook that collects": Case(Collects, "a", (X,), "cannot be followed through"),
    "given by chance": Case(ByChance, "a", (X,), "draws random numbers to decide"),
    "behind what trains": Case(BehindWhatTrains, "a", (X,), "or goes through them one by one"),
}


class Around(nn.Module):
    """A model whose part takes its input twice."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x)


@pytest.mark.parametrize("name", CASES)
def test_exact_or_refused(name: str) -> None:
    hold_to_model(CASES[name])


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].refusal is None])
def test_a_frozen_layer_is_not_computed_behind_the_cut(name: str) -> None:
    model = build(CASES[name])
    parts = cut(model, picked(CASES[name].inputs, [0, 1, 2]))
    assert parts.engine == "own forward"
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    held = {n for graph in parts.suffix.graphs for n in called_and_read(graph)}
    assert not parts.uncached or name == "half of the layers in a row"
    assert {n for n, _ in parts.suffix.named_parameters()} == (trained | set(parts.uncached))
    assert not any(n.startswith(tuple(f"{h}." for h in held)) for n in frozen - set(parts.uncached))


def test_another_way_than_when_it_was_cut_is_an_error_that_says_what_to_do() -> None:
    class Late(ThreeLayers):
        switch = False

        def forward(self, x: Tensor) -> Tensor:
            rows = torch.stack([self.b(row) for row in self.a(x)])
            return rows + x if self.switch else rows

    model = Late()
    freeze(model, "a")
    parts = cut(model, X)
    model.switch = True
    with pytest.raises(CutError, match=r"did not read when it was cut.*: train without the cache"):
        parts.suffix(*parts.prefix(X))


@pytest.mark.parametrize("make", [RowByRow, InBuffers])
def test_layers_are_their_own_again_behind_each_call(make: Callable[[], nn.Module]) -> None:
    model = make()
    freeze(model, "a")
    expected = model.eval()(X)
    parts = cut(model, X)
    parts.suffix(*parts.prefix(X))
    with pytest.raises(RuntimeError):
        parts.suffix(torch.zeros(3, 4))  # float32: fails half-way
    assert "forward" not in vars(model.a)
    torch.testing.assert_close(model.eval()(X), expected, rtol=0, atol=0)

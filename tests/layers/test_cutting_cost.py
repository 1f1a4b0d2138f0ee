"""What finding and checking a cut costs: rows through the frozen layers, counted."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from reuse.layers.cutting import ROWS_COMPUTED, cut
from reuse.layers.freezing import freeze

WIDTH = 31  # of what the frozen layer takes, and no other


class CountRows(TorchDispatchMode):
    """A count of the rows that go through layers of `WIDTH` inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.addmm.default and args[1].shape[-1] == WIDTH and not isinstance(args[1], FakeTensor):
            self.rows += len(args[1])
        return func(*args, **(kwargs or {}))


class Branching(nn.Module):
    """A frozen layer behind a branch on the number of dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.trained = nn.Linear(WIDTH, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2 and len(x.shape) == 2:
            x = torch.relu(self.frozen(x))
        return self.trained(x)


def chain() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


@pytest.mark.parametrize("make", [chain, Branching])
@pytest.mark.parametrize("rows", [1, 8, 64])
def test_a_cut_takes_so_many_rows_whatever_it_is_given(make: Callable[[], nn.Module], rows: int) -> None:
    model = make()
    freeze(model, "frozen" if isinstance(model, Branching) else "0")
    with CountRows() as counted:
        cut(model, torch.randn(rows, WIDTH))
    assert 0 < counted.rows <= ROWS_COMPUTED


class Counted(nn.Module):
    """A frozen embedding and layer, and one that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.frozen, self.trained = nn.Embedding(50, WIDTH), nn.Linear(WIDTH, 4), nn.Linear(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.trained(self.frozen(self.words(tokens).mean(1)))


@pytest.mark.parametrize(("unlike", "more"), [(True, 2 * 2), (False, 2 * 2 + 8)])
def test_whole_numbers_that_differ_are_not_tried_first(unlike: bool, more: int) -> None:
    model = Counted()
    freeze(model, "words,frozen")
    tokens = torch.arange(8 * 6).reshape(8, 6) if unlike else torch.ones(8, 6, dtype=torch.long)
    with CountRows() as counted:
        cut(model, tokens)
    assert 0 < counted.rows <= ROWS_COMPUTED + more

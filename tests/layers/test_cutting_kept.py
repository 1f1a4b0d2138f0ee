"""What frozen layers only keep (counts, clocks, last activations) is no obstacle to a cut; what they read of it is."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attacks.keeping_models import MODELS
from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze

X = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))
LATE = 40  # calls after which a layer that reads its count does something else: more than it takes to cut
COUNTS = {"calls": 0}


class Counting(nn.Module):
    """A layer with all that may count."""

    kinds: dict[str, type["Counting"]] = {}  # noqa: RUF012 - a menu of the file's own
    number = 0

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
        self.calls, self.seen, self.numbers, self.count = 0, list[int](), itertools.count(), counter()
        self.state, self.previous = State(), torch.zeros(6)
        self.register_buffer("total", torch.zeros((), dtype=torch.long))
        self.register_buffer("mean", torch.zeros(6))

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.kinds[cls.__name__] = cls


class State:
    calls = 0


def counter() -> Callable[[], int]:
    calls = 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return calls

    return count


class EveryTenth(Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(x) * (2 if self.calls % 10 == 0 else 1)


class After(Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > LATE:
            x = 2 * x
        return self.linear(x)


class AfterByBuffer(Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.total += 1
        return torch.where(self.total > LATE, 2 * self.linear(x), self.linear(x))


class AfterByGlobal(Counting):
    def forward(self, x: Tensor) -> Tensor:
        COUNTS["calls"] += 1
        return self.linear(x) * (2 if COUNTS["calls"] > LATE else 1)


class AfterByClass(Counting):
    def forward(self, x: Tensor) -> Tensor:
        type(self).number += 1
        return self.linear(x) * (2 if self.number > LATE else 1)


class AfterByObject(Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.state.calls += 1
        return self.linear(x) * (2 if self.state.calls > LATE else 1)


class AfterByIterator(Counting):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * (2 if next(self.numbers) >= LATE else 1)


class AfterByList(Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return self.linear(x) * (2 if len(self.seen) > LATE else 1)


class AfterByClosure(Counting):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * (2 if self.count() > LATE else 1)


class AfterByName(Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(x) * (2 if getattr(self, "cal" + "ls") > LATE else 1)


class AfterByTable(Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(x) * (2 if vars(self)["calls"] > LATE else 1)


class OfLastRows(Counting):
    def forward(self, x: Tensor) -> Tensor:
        out = self.linear(x - self.previous)
        self.previous = x.mean(0).detach()
        return out


class RunningMean(Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(x.mean(0).detach(), alpha=0.1)
        return self.linear(x - self.mean)


class ReadByAnother(nn.Module):
    """A layer that trains, and reads what a frozen one counts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.counts, self.last = MODELS[0](), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.counts(x))
        return 2 * y if self.counts.calls > LATE else y


def frozen_first(kind: type[nn.Module], frozen: str = "0") -> nn.Module:
    """Return a layer of a kind, frozen, and one that trains behind it; counts outside of the model begin anew."""
    torch.manual_seed(0)
    COUNTS["calls"], Counting.number = 0, 0
    if "number" in vars(kind):
        del kind.number  # type: ignore[attr-defined]
    model = nn.Sequential(kind(), nn.Linear(6, 3))
    freeze(model, frozen)
    return model


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_only_kept_is_no_obstacle(kind: Any) -> None:
    model = frozen_first(kind)
    parts = cut(model, X)
    assert parts.bytes_per_sample == 24
    assert not parts.uncached
    for _ in range(LATE + 5):
        torch.testing.assert_close(parts.suffix(*parts.prefix(X)), model(X), rtol=1e-6, atol=1e-7)
    (rows,) = parts.prefix(X)
    model(torch.flip(X, (0,)))  # what it keeps now is of other rows
    torch.testing.assert_close(parts.prefix(X)[0], rows, rtol=0, atol=0)


@pytest.mark.parametrize("name", Counting.kinds)
def test_what_is_read_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(CutError, match=r"the frozen layer '0' cannot be cached: .* which is read"):
        cut(frozen_first(Counting.kinds[name]), X)


@pytest.mark.parametrize("name", Counting.kinds)
def test_what_is_read_in_a_layer_that_is_entered_stays_as_it_is(name: str) -> None:
    kind = Counting.kinds[name]
    try:
        parts = cut(frozen_first(kind, "0.linear.0"), X)
    except CutError:
        return
    rows = parts.prefix(X)
    got = [parts.suffix(*rows) for _ in range(LATE + 5)]
    twin = frozen_first(kind, "0.linear.0")
    for one in got:
        torch.testing.assert_close(one, twin(X), rtol=1e-5, atol=1e-6)


def test_what_another_layer_reads_is_read() -> None:
    model = ReadByAnother()
    freeze(model, "counts")
    with pytest.raises(CutError, match=r"changes 'counts\.calls'"):
        cut(model, X)


def test_what_is_remembered_by_size_is_no_count() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.mask = nn.Linear(6, 6), torch.zeros(0)

        def forward(self, x: Tensor) -> Tensor:
            if len(self.mask) != len(x):
                self.mask = torch.ones(len(x), 1)
            return self.linear(x) * self.mask

    assert not cut(frozen_first(Masked), X).uncached

"""Earlier cuts, held to the model itself: whatever is kept in the suffix, the whole computes the same."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze


class Widening(nn.Module):
    """A narrow layer, a wide one behind it, and a head; a skip connection around the wide one if asked for."""

    def __init__(self, skip: bool = False) -> None:
        super().__init__()
        self.skip = skip
        self.narrow, self.wide, self.head = nn.Linear(6, 4), nn.Linear(4, 64), nn.Linear(68 if skip else 64, 2)

    def forward(self, x: Tensor) -> Tensor:
        small = F.relu(self.narrow(x))
        large = torch.tanh(self.wide(small))
        return self.head(torch.cat([large, small], 1) if self.skip else large)


class WritesInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        z = self.b(y)
        y.add_(1)
        return self.head(z + y)


class Prepares(nn.Module):
    """Makes a table on its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("table", torch.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.table.numel() == 1:
            self.table = torch.arange(4.0)
        return self.linear(x)


class ReadsWhatWasPrepared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = Prepares(), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x)) + self.a.table)


def sequence() -> nn.Sequential:
    layers = [nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 9), nn.BatchNorm1d(9), nn.Dropout(0.5), nn.Linear(9, 7)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(7, 2))


MODELS = {
    "sequence": (sequence, "*,!7*", 6),
    "widening": (Widening, "narrow,wide", 6),
    "skip": (lambda: Widening(skip=True), "narrow,wide", 6),
    "in place": (WritesInPlace, "a,b", 4),
    "prepared": (ReadsWhatWasPrepared, "a,b", 4),
}


@pytest.mark.parametrize("name", MODELS)
def test_each_bridge_computes_the_deepest_frontier_bit_for_bit(name: str) -> None:
    make, frozen, width = MODELS[name]
    model = make()
    freeze(model, frozen)
    inputs = torch.randn(5, width)
    parts = cut(model, inputs)
    assert parts.earlier
    deepest = parts.prefix(inputs)
    for earlier in parts.earlier:
        frontier = earlier.prefix(inputs)
        assert [(t.shape[1:], t.dtype) for t in frontier] == [(f.shape, f.dtype) for f in earlier.frontier]
        torch.testing.assert_close(earlier.bridge(*frontier), deepest, rtol=0, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_kept_is_computed_by_the_suffix(name: str) -> None:
    make, frozen, width = MODELS[name]
    model = make()
    freeze(model, frozen)
    inputs = torch.randn(5, width)
    for earlier in cut(model, inputs).earlier:
        kept = cut(model, inputs, keep=earlier.signatures)
        assert kept.frontier == earlier.frontier
        assert {name.rpartition(".")[0] for name in kept.uncached} == set(earlier.behind)
        model.eval()
        torch.testing.assert_close(kept.suffix(*kept.prefix(inputs)), model(inputs), rtol=0, atol=0)
        kept.suffix(*kept.prefix(inputs)).sum().backward()
        assert all((p.grad is None) is not p.requires_grad for p in model.parameters())
        model.zero_grad()


def test_a_widening_has_a_smaller_cut_before_it() -> None:
    model = Widening()
    freeze(model, "narrow,wide")
    parts = cut(model, torch.randn(3, 6))
    assert (parts.bytes_per_sample, parts.earlier[0].bytes_per_sample) == (256, 16)
    assert parts.earlier[0].behind == ("wide",)


def test_a_layer_alone_has_no_earlier_cut() -> None:
    model = sequence()
    freeze(model, "0")
    assert cut(model, torch.randn(3, 6)).earlier == ()


def test_what_the_model_does_not_compute_cannot_be_kept() -> None:
    model = sequence()
    freeze(model, "0,2")
    with pytest.raises(CutError, match="not computed by this model"):
        cut(model, torch.randn(3, 6), keep=["0" * 32])

"""Frozen weights that code may write into unseen: copied once for a run, compared in each step, no part of a suffix."""

import copy
import gc
import io
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from exact_cuts import ROWS, ThreeLayers
from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.layers.parameter_writes import Watch
from reuse.layers.parts import Cut

X = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1)).double()


class NamesData(ThreeLayers):
    """Weights of it may be written into by their `data`, though its forward does not."""

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.stack([self.b(row) for row in self.a(x)]))

    def restart(self) -> None:
        for parameter in self.parameters():
            parameter.data.zero_()


@pytest.fixture
def parts() -> Cut:
    model = NamesData()
    freeze(model, "a")
    found = cut(model, X)
    assert found.engine == "own forward"
    return found


def frozen(parts: Cut) -> nn.Parameter:
    return next(parameter for parameter in parts.prefix.parameters() if parameter.dim() == 2)


class _Copies(Watch):  # type: ignore[no-untyped-call]
    """Count copies of a tensor of some memory."""

    def __init__(self, of: Tensor):
        super().__init__()
        self.memory, self.count = of.data_ptr(), 0

    def see(self, func, args, kwargs) -> None:
        self.count += func is torch.ops.aten.clone.default and args[0].data_ptr() == self.memory


@contextmanager
def copies(of: Tensor) -> Iterator[_Copies]:
    with _Copies(of) as counted:
        yield counted


def test_weights_are_copied_once_for_many_steps(parts: Cut) -> None:
    rows = parts.prefix(X)
    with copies(frozen(parts)) as counted:
        for _ in range(5):
            parts.suffix(*rows)
    assert counted.count <= 1


def test_a_write_between_two_steps_is_an_error(parts: Cut) -> None:
    rows = parts.prefix(X)
    parts.suffix(*rows)
    frozen(parts).data.mul_(2)
    with pytest.raises(CutError, match="changes a frozen layer"):
        parts.suffix(*rows)


def test_another_cut_of_the_model_leaves_the_copies_of_this_one(parts: Cut) -> None:
    rows = parts.prefix(X)
    frozen(parts).data.mul_(2)
    other = cut(parts.suffix.model, X)
    torch.testing.assert_close(other.suffix(*other.prefix(X)), parts.suffix.model(X), rtol=0, atol=0)
    for mode in (True, False):
        with pytest.raises(CutError, match="changes a frozen layer"):
            parts.suffix.train(mode)(*rows)


def test_weights_that_are_loaded_or_put_elsewhere_are_copied_anew(parts: Cut) -> None:
    rows = parts.prefix(X)
    expected = parts.suffix(*rows)
    weight = frozen(parts)
    with torch.no_grad():
        weight.copy_(weight.clone())  # as loading a state does
    with copies(weight) as counted:
        torch.testing.assert_close(parts.suffix(*rows), expected, rtol=0, atol=0)
    assert counted.count == 1
    weight.data = weight.data.float()
    parts.suffix(*rows)  # of another type, and none of its numbers is known in that
    weight.data = weight.data.double()
    parts.suffix(*rows)


def test_copies_are_neither_pickled_nor_copied_with_what_holds_them(parts: Cut) -> None:
    def size(module: nn.Module) -> int:
        torch.save(module, buffer := io.BytesIO())
        return buffer.tell()

    before = size(parts.suffix)
    parts.suffix(*parts.prefix(X))
    assert size(parts.suffix) == before
    twin = copy.deepcopy(parts.suffix)
    with copies(frozen(parts)) as counted:
        torch.testing.assert_close(twin(*parts.prefix(X)), parts.suffix(*parts.prefix(X)), rtol=0, atol=0)
    assert counted.count <= 1  # of the one that had them, none


def test_a_weight_that_is_held_no_longer_is_let_go_of(parts: Cut) -> None:
    rows = parts.prefix(X)
    parts.suffix(*rows)
    layer = next(module for module in parts.prefix.modules() if isinstance(module, nn.Linear))
    before = weakref.ref(layer.weight)
    layer.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
    parts.suffix(*rows)
    gc.collect()
    assert before() is None


def test_weights_are_copied_once_for_both_modes(parts: Cut) -> None:
    rows = parts.prefix(X)
    with torch.no_grad():
        frozen(parts).add_(0)
    with copies(frozen(parts)) as counted:
        for mode in (True, False, True):
            parts.suffix.train(mode)(*rows)
    assert counted.count == 1

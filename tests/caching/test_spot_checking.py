"""Stored rows are compared with what the prefix computes now, with room for rounding and none for anything else."""

import pytest
import torch

from reuse.caching.spot_checking import advice_on, difference, spot_check
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor


def _compare(old, new):
    found = difference([FrontierTensor("pool", tuple(old.shape[1:]), old.dtype)], [old], [new])
    if found is not None:
        raise CacheError(advice_on(found, "key"))


@pytest.mark.parametrize(
    ("dtype", "rounding", "error"),
    [
        (torch.float64, 1e-10, 1e-8),
        (torch.float32, 1e-4, 1e-2),
        (torch.float16, 5e-3, 1e-1),
        (torch.bfloat16, 5e-3, 1e-1),
        (torch.complex64, 1e-4, 1e-2),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_rounding_passes_and_more_does_not(dtype, rounding, error, scale):
    old = (torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4) * scale).to(dtype)
    off = torch.zeros(3, 4, dtype=torch.float64)
    off[1, 2] = scale
    _compare(
        old,
        (old.to(torch.complex128) + rounding * off).to(dtype)
        if dtype.is_complex
        else (old.double() + rounding * off).to(dtype),
    )
    with pytest.raises(CacheError, match=r"'pool' .* differ .*clear key"):
        _compare(
            old,
            (old.to(torch.complex128) + error * off).to(dtype)
            if dtype.is_complex
            else (old.double() + error * off).to(dtype),
        )


def test_whole_numbers_must_be_equal():
    old = torch.tensor([[2**62 + 1]])
    _compare(old, old.clone())
    with pytest.raises(CacheError):
        _compare(old, old - 1)


def test_what_is_not_a_number_must_stay_so():
    nan, inf = float("nan"), float("inf")
    old = torch.tensor([[nan, inf, -inf, 0.0]])
    _compare(old, old.clone())
    for other in ([1.0, inf, -inf, 0.0], [nan, -inf, -inf, 0.0], [nan, inf, -inf, nan], [nan, inf, 5.0, 0.0]):
        with pytest.raises(CacheError):
            _compare(old, torch.tensor([other]))


def test_a_prefix_that_changed_behind_the_keys_back_is_found(rows, open_cache):
    data = rows(20)
    open_cache().fill(data.keys, data.compute)
    data.calls.clear()
    spot_check(open_cache(), data.keys, data.compute, rows=3, seed=1)
    first = data.computed
    assert len(set(first)) == 3
    data.calls.clear()
    spot_check(open_cache(), data.keys, data.compute, rows=3, seed=2)
    assert data.computed != first
    with pytest.raises(CacheError, match="'mask/in' \\(bfloat16\\) differ"):
        spot_check(
            open_cache(), data.keys, lambda positions: (data.tensors[0][positions], 1 - data.tensors[1][positions])
        )


def test_rows_that_are_not_stored_are_not_asked_for(rows, open_cache):
    data = rows(20)
    spot_check(open_cache(), data.keys, data.compute)
    assert data.calls == []
    open_cache().fill(data.keys[:2], data.compute)
    data.calls.clear()
    spot_check(open_cache(), data.keys, data.compute, rows=10)
    assert data.computed == [0, 1]

"""8-bit codes: no value is further off than half a step of its channel in its block; blocks never share a scale."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reuse.caching import activations, stored_rows
from reuse.caching.activations import MappedActivations, PackedActivations, ResidentActivations
from reuse.caching.building import published
from reuse.caching.cache import ActivationCache
from reuse.caching.packing import QuantizedTensor, channel_axis, dequantize, packed, quantize
from reuse.caching.segment import read_header
from reuse.caching.spot_checking import spot_check, storage_errors
from reuse.errors import CacheError, UnknownNameError
from reuse.fingerprinting.fingerprint import Fingerprint
from reuse.layers.frontier_tensor import FrontierTensor

FRONTIER = (FrontierTensor("map", (3, 4, 4), torch.float32), FrontierTensor("tokens", (5,), torch.int64))
SIZES = {"compute_rows": 4, "block_bytes": 1}  # a block is four rows


class Maps:
    """30 rows whose channels and blocks have very different ranges, and what is computed for them."""

    def __init__(self, dtype=torch.float32):
        random = torch.Generator().manual_seed(0)
        growing = torch.linspace(1, 50, 30)[:, None, None, None] * torch.tensor([1.0, 1e-3, 1e3])[:, None, None]
        maps = (torch.randn(30, 3, 4, 4, generator=random) * growing + growing).to(dtype)
        self.keys = np.random.default_rng(0).integers(0, 256, (30, 16), dtype=np.uint8)
        self.tensors = (maps, torch.randint(-(2**60), 2**60, (30, 5), generator=random))
        self.frontier = (FrontierTensor("map", (3, 4, 4), dtype), FRONTIER[1])

    def compute(self, positions):
        return tuple(tensor[positions] for tensor in self.tensors)

    def open(self, root, dtype="int8", **settings):
        return ActivationCache(root, **settings).open(Fingerprint({"stored": dtype}), self.frontier, dtype=dtype)

    def allowed(self, block_rows=4):
        """Half a step of each row's block and channel, by the formula, in float64."""
        blocks = self.tensors[0].double().split(block_rows)
        return torch.cat([
            ((b.amax((0, 2, 3), keepdim=True) - b.amin((0, 2, 3), keepdim=True)) / 255 / 2).expand(len(b), 3, 1, 1)
            for b in blocks
        ])  # fmt: skip

    def assert_close(self, served, order, allowed):
        maps, tokens = served
        assert maps.dtype == self.tensors[0].dtype
        exact = self.tensors[0][order].double()
        rounding = torch.finfo(maps.dtype).eps * exact.abs()
        assert ((maps.double() - exact).abs() <= allowed[order] * 1.0001 + rounding).all()
        assert torch.equal(tokens, self.tensors[1][order])


@pytest.fixture
def maps(unsynced):
    return Maps()


# --- the codes -------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([(), (1,), (7,), (3, 4), (3, 4, 4), (4, 4, 3), (2, 3, 4, 5)]),
    st.integers(1, 9),
    st.sampled_from([1e-30, 1e-3, 1.0, 1e30]),
    st.sampled_from([torch.float64, torch.float32]),
)
def test_every_value_is_within_half_a_step_of_its_channel(shape, rows, size, dtype):
    tensor = QuantizedTensor("x", shape, torch.int8)
    values = (torch.randn(rows, *shape) * size).to(dtype)
    codes, (low, step) = quantize(values, tensor)
    restored = dequantize(codes, low.reshape(tensor.channel_shape), step.reshape(tensor.channel_shape), dtype)
    axis = channel_axis(shape) + 1 if shape else 0
    others = [d for d in range(values.dim()) if d != axis or not shape]
    high, bottom = values.double().amax(others, keepdim=True), values.double().amin(others, keepdim=True)
    half = (high - bottom) / 255 / 2
    assert codes.dtype == torch.int8
    assert ((restored.double() - values.double()).abs() <= half * 1.0001 + 1e-6 * values.double().abs()).all()
    if dtype == torch.float32:
        assert (restored == bottom).any()  # the lowest value comes back as it was


def test_a_channel_of_one_value_and_the_zeros_of_a_relu_come_back_exactly():
    values = torch.stack([torch.full((50,), 3.7), torch.randn(50).relu(), torch.zeros(50)], 1)
    codes, (low, step) = quantize(values, QuantizedTensor("x", (3,), torch.int8))
    restored = dequantize(codes, low, step, torch.float32)
    assert torch.equal(restored[:, [0, 2]], values[:, [0, 2]])
    assert (restored[:, 1][values[:, 1] == 0] == 0).all()


@pytest.mark.parametrize(("shape", "axis"), [((8,), 0), ((5, 8), 1), ((8, 5, 5), 0), ((5, 5, 8), 2), ((5, 5, 5), 0)])
def test_channels_are_where_they_are_said_to_be(shape, axis):
    assert channel_axis(shape) == axis


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_does_not_fit_and_says_so(maps, tmp_path, bad):
    maps.tensors[0][7, 1, 2, 3] = bad
    with pytest.raises(CacheError, match=r"activations of map reach (nan|inf) and do not fit int8: leave cache-dtype"):
        maps.open(tmp_path).fill(maps.keys, maps.compute, **SIZES)
    maps.tensors[0][7, 1, 2, 3] = 1e30
    assert maps.open(tmp_path).fill(maps.keys, maps.compute, **SIZES).computed == 26  # the block before is kept


# --- stored and read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tier", [ResidentActivations, PackedActivations, MappedActivations])
@pytest.mark.parametrize("order", ["straight", "shuffled", "few"])
def test_every_tier_gives_what_was_computed_within_half_a_step(tmp_path, unsynced, dtype, tier, order):
    data = Maps(dtype)
    cache = data.open(tmp_path, segment_bytes=1000)
    cache.fill(data.keys, data.compute, **SIZES)
    assert len(published(cache.path)) > 2
    chosen = {"straight": np.arange(30), "shuffled": np.random.default_rng(1).permutation(30), "few": [4, 5, 5]}[order]
    memory = {
        ResidentActivations: None,
        PackedActivations: len(chosen) * (48 * dtype.itemsize + 40) - 1,
        MappedActivations: 0,
    }[tier]
    split = cache.activations(data.keys[chosen], memory=memory)
    assert isinstance(split, tier)
    assert (split.resident() is None) == (tier != ResidentActivations)
    indices = torch.randperm(len(chosen))
    data.assert_close(split.gather(indices), chosen[indices] if order != "few" else torch.tensor(chosen)[indices],
                      data.allowed())  # fmt: skip


def test_beside_a_small_device_codes_lie_in_ram_and_are_unpacked_over_there(maps, tmp_path, monkeypatch):
    cache, meta = maps.open(tmp_path), torch.device("meta")
    cache.fill(maps.keys, maps.compute)
    monkeypatch.setattr(activations, "free_memory", lambda device: 10**9 if device.type == "cpu" else 10)
    monkeypatch.setattr(stored_rows, "_scales", lambda table, blocks, tensor: (table[0, 0, :, None, None],) * 2)
    split = cache.activations(maps.keys, device=meta)
    assert isinstance(split, PackedActivations)
    got = split.gather(torch.tensor([1, 2]))
    assert [(t.device, t.dtype, tuple(t.shape)) for t in got] == [
        (meta, torch.float32, (2, 3, 4, 4)),
        (meta, torch.int64, (2, 5)),
    ]


def test_a_block_takes_a_quarter_and_rows_added_later_leave_the_old_ones_alone(maps, tmp_path):
    maps.open(tmp_path).fill(maps.keys[:10], maps.compute, **SIZES)
    before = maps.open(tmp_path).activations(maps.keys[:10]).resident()
    maps.open(tmp_path).fill(maps.keys, maps.compute, **SIZES)
    after = maps.open(tmp_path).activations(maps.keys[:10]).resident()
    assert torch.equal(before[0], after[0])
    header = read_header(published(maps.open(tmp_path).path)[0])
    assert header.tensors[0].row_bytes == 48
    assert ActivationCache(tmp_path).verify() == []


def test_killed_and_filled_again_every_block_keeps_its_scale(maps, tmp_path):
    def stop(positions):
        if 13 in positions:
            raise KeyboardInterrupt
        return maps.compute(positions)

    with pytest.raises(KeyboardInterrupt):
        maps.open(tmp_path).fill(maps.keys, stop, **SIZES)
    assert maps.open(tmp_path).fill(maps.keys, maps.compute, **SIZES).computed == 18
    maps.assert_close(maps.open(tmp_path).activations(maps.keys).resident(), np.arange(30), maps.allowed())
    assert ActivationCache(tmp_path).verify() == []


def test_flipped_bits_in_codes_and_scales_are_found_when_verified_and_when_read(maps, tmp_path):
    cache, random = maps.open(tmp_path), np.random.default_rng(0)
    cache.fill(maps.keys, maps.compute, **SIZES)
    (path,) = published(cache.path)
    header, whole = read_header(path), path.read_bytes()
    for place, name in ((header.tensors[0], "rows 4 to 7 of map"), (header.scales[0], "rows 4 to 7 of the scales of")):
        first = place.offset + (1 if place.per_block else 4) * place.row_bytes
        for offset in random.integers(first, first + place.row_bytes, 10).tolist():
            path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 16]) + whole[offset + 1 :])
            (problem,) = ActivationCache(tmp_path).verify()
            assert name in str(problem)
            with pytest.raises(CacheError, match="wrong checksum"):
                maps.open(tmp_path).activations(maps.keys)
    path.write_bytes(whole)
    assert ActivationCache(tmp_path).verify() == []


def test_types_of_storage_never_share_rows(maps, tmp_path):
    cache, maps.tensors = ActivationCache(tmp_path), (maps.tensors[0] / 1000, maps.tensors[1])
    every = [cache.open(Fingerprint({}), FRONTIER, dtype=dtype) for dtype in (None, "int8", "float16", "bfloat16")]
    for opened in every:
        assert len(opened.missing(maps.keys)) == 30
        opened.fill(maps.keys, maps.compute)
    for opened in every:
        served = opened.activations(maps.keys).resident()[0]
        assert served.dtype == torch.float32
        exact = maps.tensors[0]
        kept = {None: exact, "float16": exact.half().float(), "bfloat16": exact.bfloat16().float()}
        name = dict(zip(map(id, every), (None, "int8", "float16", "bfloat16"), strict=True))[id(opened)]
        assert name == "int8" or torch.equal(served, kept[name])


def test_a_prefix_natively_of_8_bits_is_stored_as_it_is(tmp_path, unsynced, maps):
    values = torch.randint(-128, 128, (30, 4), dtype=torch.int8)
    cache = ActivationCache(tmp_path).open(Fingerprint({}), [FrontierTensor("x", (4,), torch.int8)], dtype="int8")
    cache.fill(maps.keys, lambda positions: (values[positions],))
    assert torch.equal(cache.activations(maps.keys).resident()[0], values)
    assert read_header(published(cache.path)[0]).scales == ()


# --- what it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_spot_checks_allow_the_rounding_of_the_type_and_nothing_more(maps, tmp_path, dtype):
    maps.tensors = (maps.tensors[0] / 1000, maps.tensors[1])
    cache = maps.open(tmp_path, dtype)
    cache.fill(maps.keys, maps.compute, **SIZES)
    spot_check(cache, maps.keys, maps.compute, rows=30)
    maps.tensors[0][:, 2] += 0.03 * maps.tensors[0].abs().max()
    with pytest.raises(CacheError, match=r"'map' .* differ"):
        spot_check(cache, maps.keys, maps.compute, rows=30)


def test_errors_are_those_of_the_formula(maps, tmp_path):
    as_computed, cache = maps.open(tmp_path, "float32"), maps.open(tmp_path, "bfloat16")
    for opened in (as_computed, cache):
        opened.fill(maps.keys, maps.compute, **SIZES)
    assert storage_errors(as_computed, maps.keys, maps.compute, rows=30) == []
    (error,) = storage_errors(cache, maps.keys, maps.compute, rows=30)
    exact = maps.tensors[0].double().flatten(1)
    off = (maps.tensors[0].bfloat16().double().flatten(1) - exact).norm(dim=1)
    assert error.relative == pytest.approx(float(off.norm() / exact.norm()))
    assert error.largest == pytest.approx(float(off.max() / exact.square().sum(1).mean().sqrt()))
    assert 0 < error.relative < 2**-8
    assert (
        str(error)
        == f"map as bfloat16: relative error {100 * error.relative:.2g} %, largest {100 * error.largest:.2g} %"
    )


def test_errors_of_stored_rows_are_those_of_what_is_read(maps, tmp_path):
    cache = maps.open(tmp_path)
    assert storage_errors(cache, maps.keys, maps.compute) == []  # nothing is stored
    cache.fill(maps.keys, maps.compute, **SIZES)
    (error,) = storage_errors(cache, maps.keys, maps.compute, rows=30)
    served = cache.activations(maps.keys).resident()[0].double()
    expected = float((served - maps.tensors[0].double()).norm() / maps.tensors[0].double().norm())
    assert error.relative == pytest.approx(expected)
    assert 0 < error.relative < 0.01
    assert storage_errors(maps.open(tmp_path, None), maps.keys, maps.compute) == []


def test_what_overflows_is_refused_and_unknown_types_are_named(maps, tmp_path):
    maps.tensors[0][0] = 1e6
    with pytest.raises(CacheError, match=r"activations of map reach 1e.06 and do not fit float16: use bfloat16"):
        maps.open(tmp_path, "float16").fill(maps.keys, maps.compute)
    with pytest.raises(UnknownNameError, match="int8"):
        packed(FRONTIER, "int4")

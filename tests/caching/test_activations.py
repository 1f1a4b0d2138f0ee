"""Every tier gives the same rows; the tier follows from the memory that is there."""

import numpy as np
import pytest
import torch

from reuse.caching import activations as module
from reuse.caching import stored_rows
from reuse.caching.activations import MappedActivations, ResidentActivations

CPU = torch.device("cpu")


@pytest.fixture
def filled(rows, open_cache):
    """Rows in several segments."""
    data = rows(200)
    cache = open_cache(segment_bytes=3000)
    cache.fill(data.keys, data.compute, compute_rows=16, block_bytes=1)
    assert len(list(cache.path.glob("segment-*.h5"))) > 2
    return data, cache


@pytest.mark.parametrize("memory", [None, 0], ids=["memory", "mapped"])
@pytest.mark.parametrize("order", ["straight", "shuffled", "repeated", "subset"])
def test_gather_equals_indexing_what_was_computed(filled, memory, order):
    data, cache = filled
    random = np.random.default_rng(3)
    rows_of_split = {
        "straight": np.arange(200),
        "shuffled": random.permutation(200),
        "repeated": random.integers(0, 200, 300),
        "subset": np.arange(40, 150),
    }[order]
    split = cache.activations(data.keys[rows_of_split], memory=memory)
    assert len(split) == len(rows_of_split)
    assert split.shapes == ((5,), (2, 3))
    for indices in (torch.randint(len(split), (64,)), torch.arange(len(split)), torch.tensor([7]), torch.arange(0)):
        for got, whole in zip(split.gather(indices), data.tensors, strict=True):
            assert torch.equal(got, whole[rows_of_split][indices])


@pytest.mark.parametrize("long_run", [1, 2**40], ids=["read", "mapped"])
@pytest.mark.parametrize("shortest_run", [1, 10**6], ids=["runs", "scattered"])
def test_every_way_of_reading_gives_the_same(filled, monkeypatch, long_run, shortest_run):
    monkeypatch.setattr(stored_rows, "LONG_RUN_BYTES", long_run)
    monkeypatch.setattr(stored_rows, "SHORTEST_RUN", shortest_run)
    monkeypatch.setattr(stored_rows, "PORTION_BYTES", 50)
    data, cache = filled
    order = np.concatenate([np.arange(50, 200), np.arange(60)[::-1], [3, 3]])
    data.assert_served(cache, order)


def test_the_tier_follows_from_the_memory(filled, monkeypatch):
    data, cache = filled
    needed = 200 * (5 * 4 + 6 * 2)
    assert isinstance(cache.activations(data.keys, memory=needed), ResidentActivations)
    mapped = cache.activations(data.keys, memory=needed - 1)
    assert isinstance(mapped, MappedActivations)
    assert mapped.resident() is None
    for free, kind in ((2 * needed, ResidentActivations), (2 * needed - 2, MappedActivations)):
        monkeypatch.setattr(module, "free_memory", lambda device, free=free: free)
        assert isinstance(cache.activations(data.keys), kind)


def test_beside_a_small_device_rows_stay_in_ram_and_batches_cross_over(filled, monkeypatch):
    """`meta` stands for a device: what crosses has its shape and type, and nothing is there before it is asked for."""
    data, cache = filled
    meta = torch.device("meta")
    monkeypatch.setattr(module, "free_memory", lambda device: 10**9 if device == CPU else 10)
    beside = cache.activations(data.keys, device=meta)
    assert torch.equal(beside.resident()[0], data.tensors[0])
    batch = beside.gather(torch.tensor([1, 2, 3]))
    assert [tensor.device for tensor in batch] == [meta, meta]
    assert [tuple(tensor.shape) for tensor in batch] == [(3, 5), (3, 2, 3)]
    monkeypatch.setattr(module, "free_memory", lambda device: 10)
    assert isinstance(cache.activations(data.keys, device=meta), MappedActivations)


@pytest.mark.gpu
@pytest.mark.parametrize("memory", [None, 0])
def test_on_a_gpu_every_tier_gives_the_same(filled, monkeypatch, memory):
    data, cache = filled
    gpu, order = torch.device("cuda"), torch.randperm(200, device="cuda")
    monkeypatch.setattr(module, "STAGING_BYTES", 500)
    for split in (cache.activations(data.keys, device=gpu, memory=memory), cache.activations(data.keys, memory=0)):
        for start in range(0, 200, 32):
            indices = order[start : start + 32].to(split.device)
            for got, whole in zip(split.gather(indices), data.tensors, strict=True):
                assert got.device.type == split.device.type
                assert torch.equal(got.cpu(), whole[indices.cpu()])


def test_memory_outlives_the_files(filled, tmp_path):
    data, cache = filled
    splits = [cache.activations(data.keys, memory=memory) for memory in (None, 0)]
    for path in cache.path.glob("segment-*.h5"):
        path.unlink()
    for split in splits:
        assert torch.equal(split.gather(torch.arange(200))[0], data.tensors[0])


def test_no_rows_are_fine(rows, open_cache):
    split = open_cache().activations(rows(3).keys[:0])
    assert len(split) == 0
    assert split.resident()[1].shape == (0, 2, 3)

"""A small prefix cache, rows whose content is known, and a record of what had to be computed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from reuse.caching import files
from reuse.caching.cache import ActivationCache
from reuse.caching.store import PrefixCache
from reuse.fingerprinting.fingerprint import Fingerprint
from reuse.layers.frontier_tensor import FrontierTensor

FRONTIER = (FrontierTensor("pool", (5,), torch.float32), FrontierTensor("mask/in", (2, 3), torch.bfloat16))


class Rows:
    """`count` rows: keys (count, 16), what the prefix computes for each, and which were computed, call by call."""

    def __init__(self, count: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.keys = random.integers(0, 256, (count, 16), dtype=np.uint8)
        first = torch.from_numpy(random.standard_normal((count, 5), dtype=np.float32))
        self.tensors = (first, torch.from_numpy(random.standard_normal((count, 2, 3))).bfloat16())
        self.calls: list[np.ndarray] = []

    def compute(self, positions: np.ndarray) -> tuple[torch.Tensor, ...]:
        self.calls.append(positions)
        return tuple(tensor[positions] for tensor in self.tensors)

    @property
    def computed(self) -> list[int]:
        return [int(position) for call in self.calls for position in call]

    def assert_served(self, cache: PrefixCache, positions: np.ndarray) -> None:
        """What the cache has for `positions` is, bit for bit, what was computed for them."""
        served = cache.activations(self.keys[positions]).resident()
        assert served is not None
        for tensor, expected in zip(served, self.tensors, strict=True):
            assert torch.equal(tensor, expected[positions])

    def present(self, cache: PrefixCache) -> np.ndarray:
        return np.setdiff1d(np.arange(len(self.keys)), cache.missing(self.keys))


@pytest.fixture
def rows() -> Callable[..., Rows]:
    return Rows


@pytest.fixture
def open_cache(tmp_path: Path) -> Callable[..., PrefixCache]:
    """Opens the prefix named `name` in one cache folder; each call gives a new object, as in another process."""

    def open_(name: str = "a", root: Path | None = None, **settings: int) -> PrefixCache:
        return ActivationCache(root or tmp_path / "cache", **settings).open(Fingerprint({"name": name}), FRONTIER)

    return open_


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out waiting for the disk where a test builds many caches and no power can fail."""
    monkeypatch.setattr(files, "fsync", lambda path: None)
    monkeypatch.setattr(files, "fsync_folder", lambda path: None)

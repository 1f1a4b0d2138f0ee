"""The cache as a whole: listing, the nearest entry, budget, removal."""

import os
import pickle

import numpy as np
import pytest

from caching.conftest import FRONTIER
from reuse.caching import locking
from reuse.caching.cache import ActivationCache
from reuse.errors import CacheError
from reuse.fingerprinting.fingerprint import Fingerprint


@pytest.fixture
def three(rows, open_cache, tmp_path):
    """Prefixes a, b, c, used in this order; their data."""
    data = rows(50)
    for age, name in enumerate("cba"):
        cache = open_cache(name)
        cache.fill(data.keys, data.compute)
        os.utime(cache.path / "used", (1000 - age, 1000 - age))
    return data


def _names(cache):
    return [entry.components["name"] for entry in cache.entries()]


def test_entries_say_what_is_there(rows, tmp_path):
    cache, data = ActivationCache(tmp_path), rows(7)
    assert cache.entries() == []
    fingerprint = Fingerprint({"dtype": "float32", "graph": "ü"})
    opened = cache.open(fingerprint, FRONTIER, {"model": "mlp:3", "data": "digits"})
    opened.fill(data.keys[:4], data.compute)
    opened.fill(data.keys, data.compute)
    (entry,) = cache.entries()
    assert (entry.key, entry.rows, entry.segments) == (fingerprint.key, 7, 2)
    assert entry.description == {"model": "mlp:3", "data": "digits"}
    assert Fingerprint(dict(entry.components)) == fingerprint
    assert entry.bytes == sum(path.stat().st_size for path in entry.path.iterdir() if path.is_file())
    assert entry.created[:2] == "20"
    assert entry.damage == ()


def test_entries_come_in_order_of_use_and_reading_is_use(three, open_cache, tmp_path):
    cache = ActivationCache(tmp_path / "cache")
    assert _names(cache) == ["c", "b", "a"]
    open_cache("a").activations(three.keys[:1])
    assert _names(cache) == ["a", "c", "b"]


def test_nearest_has_the_fewest_differences(tmp_path, rows):
    cache, data = ActivationCache(tmp_path), rows(1)
    made = [{"eps": "1", "dtype": "x", "w": "1"}, {"eps": "1", "dtype": "y", "w": "2"}, {"other": "1"}]
    assert cache.nearest(Fingerprint(made[0])) is None
    for components in made:
        cache.open(Fingerprint(components), FRONTIER).fill(data.keys, data.compute)
    wanted = Fingerprint({"eps": "2", "dtype": "y", "w": "2"})
    found = cache.nearest(wanted)
    assert found.components == made[1]
    assert wanted.differences(Fingerprint(dict(found.components))) == ["eps: 2 here, 1 there"]


def test_prune_removes_the_least_recently_used_and_says_how_much(three, tmp_path):
    cache = ActivationCache(tmp_path / "cache")
    before = sum(entry.bytes for entry in cache.entries())
    assert cache.prune(before) == 0
    freed = cache.prune(before - 1)
    assert _names(cache) == ["c", "b"]
    assert freed == before - sum(entry.bytes for entry in cache.entries())
    cache.prune(0)
    assert cache.entries() == []


def test_clear_removes_one_or_all_and_knows_the_keys(three, open_cache, tmp_path):
    cache = ActivationCache(tmp_path / "cache")
    (tmp_path / "cache" / "README.md").write_text("not a prefix")
    with pytest.raises(CacheError, match="there is no prefix 'ab'"):
        cache.clear("ab")
    assert cache.clear(open_cache("b").key) > 0
    assert _names(cache) == ["c", "a"]
    cache.clear()
    assert cache.entries() == []
    assert (tmp_path / "cache" / "README.md").exists()
    assert len(open_cache("a").missing(three.keys)) == 50
    open_cache("a").fill(three.keys, three.compute)
    three.assert_served(open_cache("a"), np.arange(50))


def test_what_is_being_written_is_not_removed(three, open_cache, tmp_path):
    cache = ActivationCache(tmp_path / "cache")
    with locking.writing(open_cache("a").path):
        cache.prune(0)
        assert _names(cache) == ["a"]
        with pytest.raises(CacheError, match="being written or read, not removed"):
            cache.clear()
    three.assert_served(open_cache("a"), np.arange(50))


def test_a_budget_evicts_other_prefixes_oldest_first(three, open_cache, tmp_path):
    sizes = {entry.components["name"]: entry.bytes for entry in ActivationCache(tmp_path / "cache").entries()}
    budget = sum(sizes.values()) + 150_000  # room for a new one beside two of the three
    open_cache("d", budget=budget - sizes["a"] // 2).fill(three.keys, three.compute)
    assert set(_names(ActivationCache(tmp_path / "cache"))) == {"d", "b", "c"}
    assert sum(entry.bytes for entry in ActivationCache(tmp_path / "cache").entries()) <= budget


def test_a_budget_that_is_too_small_is_an_error_and_removes_nothing(three, open_cache, tmp_path):
    with pytest.raises(CacheError, match="no room in the cache budget of 100 bytes"):
        open_cache("d", budget=100).fill(three.keys, three.compute)
    assert _names(ActivationCache(tmp_path / "cache")) == ["c", "b", "a"]
    with locking.writing(open_cache("a").path), pytest.raises(CacheError, match="no room in the cache budget"):
        open_cache("d", budget=140_000).fill(three.keys, three.compute)  # enough for d alone, not beside a


def test_a_cache_crosses_processes_by_pickle(three, tmp_path):
    cache = pickle.loads(pickle.dumps(ActivationCache(tmp_path / "cache", budget=7)))
    assert (cache.root, cache.budget, len(cache.entries())) == (tmp_path / "cache", 7, 3)

"""What a cache takes is bounded: versions of rows that nothing reads any more go, and who reads them goes on."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from caching.conftest import FRONTIER, Rows
from reuse.caching import index
from reuse.caching.building import published
from reuse.caching.cache import ActivationCache
from reuse.caching.index import Index
from reuse.caching.locking import writing
from reuse.caching.store import PrefixCache
from reuse.data.rows import read_in_order
from reuse.finetuning.finetune import finetune
from reuse.fingerprinting.fingerprint import Fingerprint


def bytes_after(source: Path, epochs: int, out: str, **settings: Any) -> tuple[int, int]:
    """Bytes and segments in a cache after a training with a new version of each row an epoch."""
    given: dict[str, Any] = {"data": "digits", "labels": 60, "augment": "noise:0.1", "views": 2, "refresh_views": 1}
    given |= {"freeze": "hidden1", "cache_kind": "disk", "early_stopping": False, "compare": False, **settings}
    finetune(source, **given, epochs=epochs, cache_dir=f"cache-{out}", out=out)
    (entry,) = ActivationCache(Path(f"cache-{out}")).entries()
    return entry.bytes, entry.segments


def test_a_training_that_refreshes_views_takes_no_more_disk_the_longer_it_takes(pretrained: Path) -> None:
    short, long = bytes_after(pretrained, 10, "short"), bytes_after(pretrained, 40, "long")
    assert long[1] == short[1]
    assert abs(long[0] - short[0]) < 100  # what was measured is written in more digits or fewer
    assert short[1] <= 1 + 2 * 2 + 1  # all rows at first; two sets of versions; the one that comes next


@pytest.mark.parametrize("refresh", [1, 2])  # versions that go while another is computed
def test_what_is_read_is_the_same(refresh: int, pretrained: Path) -> None:
    """As from memory, where nothing is kept."""
    given: dict[str, Any] = {
        "data": "digits",
        "labels": 60,
        "augment": "noise:0.1",
        "views": 2,
        "refresh_views": refresh,
    }
    given |= {"freeze": "hidden1", "early_stopping": False, "compare": False, "epochs": 14}
    losses = [
        finetune(pretrained, **given, cache_kind=kind, out=kind).metrics["test"]["loss"] for kind in ("disk", "memory")
    ]
    assert losses[0] == losses[1]


@pytest.fixture
def versions(tmp_path: Path) -> tuple[PrefixCache, Rows]:
    """A prefix of three segments of 20 rows."""
    data, cache = Rows(60), ActivationCache(tmp_path).open(Fingerprint({"name": "versions"}), FRONTIER)
    for start in range(0, 60, 20):
        part = np.arange(start, start + 20)
        cache.fill(data.keys[part], lambda positions, part=part: data.compute(part[positions]))
    return cache, data


def test_only_segments_of_such_rows_alone_are_removed(versions: tuple[PrefixCache, Rows]) -> None:
    cache, data = versions
    assert cache.discard(data.keys[15:45])
    assert data.present(cache).tolist() == [*range(20), *range(40, 60)]
    assert cache.discard(data.keys[15:45])
    data.assert_served(cache, data.present(cache))
    cache.fill(data.keys, data.compute)
    data.assert_served(cache, np.arange(60))


def test_what_is_being_written_waits(versions: tuple[PrefixCache, Rows]) -> None:
    cache, data = versions
    with writing(cache.path):
        assert not cache.discard(data.keys)
    assert len(published(cache.path)) == 3
    assert cache.discard(data.keys)
    assert published(cache.path) == []


def test_who_reads_them_goes_on(versions: tuple[PrefixCache, Rows]) -> None:
    cache, data = versions
    again = lambda: cache.fill(data.keys, data.compute)  # noqa: E731
    readers = [cache.activations(data.keys, memory=memory, mend=again) for memory in (None, 0)]
    order = torch.randperm(60)
    with read_in_order(readers[1], order) as opened:
        cache.discard(data.keys)
        for some in order.split(7):
            for now, then in zip(opened.gather(some), data.tensors, strict=True):
                assert torch.equal(now, then[some])
    for reader in readers:
        assert torch.equal(reader.gather(order)[0], data.tensors[0][order])
    cache.discard(data.keys)
    assert torch.equal(cache.activations(data.keys, mend=again).gather(order)[0], data.tensors[0][order])


def test_rows_that_move_while_they_are_looked_up_are_looked_up_again(
    versions: tuple[PrefixCache, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, data = versions
    found, find = [], Index.find

    def find_and_move(index: Index, keys: np.ndarray) -> np.ndarray:
        places = find(index, keys)
        if not found:
            found.append(places)
            assert cache.discard(data.keys[:20])
        return places

    monkeypatch.setattr(Index, "find", find_and_move)
    rows = cache.activations(data.keys[40:], mend=lambda: None)
    assert found[0].tolist() == list(range(40, 60))  # where they were, of which the first twenty went
    assert torch.equal(rows.gather(torch.arange(20))[0], data.tensors[0][40:])


def test_processes_that_discard_the_same_do_not_fail(
    versions: tuple[PrefixCache, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, data = versions
    other, read, removed = pickle.loads(pickle.dumps(cache)), index.read_header, []

    def remove_first(path: Path) -> Any:
        if not removed:
            removed.append(path)
            path.unlink()
        return read(path)

    monkeypatch.setattr(index, "read_header", remove_first)
    fresh = ActivationCache(cache.path.parent).open(Fingerprint({"name": "versions"}), FRONTIER)
    assert len(fresh.missing(data.keys)) == 20
    assert other.discard(data.keys)
    assert cache.discard(data.keys)

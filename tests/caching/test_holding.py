"""What is being read is not evicted; where a file system has no locks, that is said and nothing else changes."""

import errno
import fcntl
import gc
import os
import pickle

import numpy as np
import pytest
import torch

from caching.test_crashes import _fork
from reuse.caching import locking
from reuse.caching.cache import ActivationCache
from reuse.caching.holding import Hold, unheld
from reuse.errors import CacheError


@pytest.fixture
def filled(rows, open_cache, unsynced):
    data = rows(20)
    open_cache().fill(data.keys, data.compute)
    return data


def _is_free(folder):
    with unheld(folder) as free:
        return free


def test_rows_on_disk_are_held_as_long_as_somebody_can_read_them(filled, open_cache, tmp_path):
    cache, folder = ActivationCache(tmp_path / "cache"), open_cache().path
    resident = open_cache().activations(filled.keys)
    assert _is_free(folder)  # what lies in memory needs no file
    mapped = open_cache().activations(filled.keys, memory=0)
    copied = pickle.loads(pickle.dumps(mapped))
    for reader in (mapped, copied):
        assert not _is_free(folder)
        assert cache.prune(0) == 0
        with pytest.raises(CacheError, match="being written or read"):
            cache.clear()
        assert torch.equal(reader.gather(torch.arange(20))[0], filled.tensors[0])
    del mapped, reader
    gc.collect()
    assert not _is_free(folder)  # the copy
    del copied
    gc.collect()
    assert cache.prune(0) > 0
    assert torch.equal(resident.gather(torch.arange(20))[0], filled.tensors[0])


def test_a_budget_evicts_around_what_is_read(filled, open_cache, tmp_path, rows):
    for age, name in enumerate("bc"):
        open_cache(name).fill(filled.keys, filled.compute)
        os.utime(open_cache(name).path / "used", (2000 + age, 2000 + age))
    os.utime(open_cache("a").path / "used", (1000, 1000))
    mapped = open_cache("a").activations(filled.keys, memory=0)  # the least recently used, were it not read
    os.utime(open_cache("a").path / "used", (1000, 1000))
    sizes = [entry.bytes for entry in ActivationCache(tmp_path / "cache").entries()]
    open_cache("d", budget=sum(sizes) + 130_000).fill(filled.keys, filled.compute)
    names = {entry.components["name"] for entry in ActivationCache(tmp_path / "cache").entries()}
    assert names == {"a", "c", "d"}
    assert torch.equal(mapped.gather(torch.arange(20))[0], filled.tensors[0])


def test_another_process_that_reads_is_seen_and_its_death_lets_go(filled, open_cache, tmp_path):
    folder, (ready, go), (told, _) = open_cache().path, os.pipe(), os.pipe()

    def read():
        mapped = open_cache().activations(filled.keys, memory=0)
        os.write(go, b"x")
        os.read(told, 1)
        return mapped

    child = _fork(read)
    os.read(ready, 1)
    assert ActivationCache(tmp_path / "cache").prune(0) == 0
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert _is_free(folder)


def test_a_hold_covers_the_time_between_filling_and_reading(filled, open_cache, tmp_path):
    store = open_cache()
    with store.hold():
        store.fill(filled.keys, filled.compute)
        assert ActivationCache(tmp_path / "cache").prune(0) == 0
        assert len(store.activations(filled.keys)) == 20
    assert ActivationCache(tmp_path / "cache").prune(0) > 0


def test_holding_what_does_not_exist_makes_nothing(tmp_path):
    with Hold(tmp_path / "none"):
        assert not (tmp_path / "none").exists()


@pytest.fixture
def no_locks(monkeypatch, caplog):
    """A network file system that answers every lock with an error."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    locking._noted.clear()
    monkeypatch.setattr(fcntl, "flock", refuse)
    return caplog


def test_without_locks_a_file_keeps_other_writers_out_and_that_is_said_once(no_locks, rows, open_cache, tmp_path):
    data = rows(12)
    for part in (data.keys[:4], data.keys[:8], data.keys):
        open_cache().fill(part, data.compute)
    data.assert_served(open_cache(), np.arange(12))
    (said,) = [record.getMessage() for record in no_locks.records]
    assert f"{open_cache().path} lies on a file system without locks" in said
    assert "remove that file by hand" in said
    with locking.writing(open_cache().path):
        child = _fork(lambda: open_cache().fill(rows(20).keys, rows(20).compute))
        assert os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG) is None
        assert ActivationCache(tmp_path / "cache").prune(0) == 0
    assert os.waitpid(child, 0)[1] == 0
    assert len(rows(20).present(open_cache())) == 20
    assert ActivationCache(tmp_path / "cache").prune(0) > 0

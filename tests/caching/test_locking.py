"""Several processes fill one prefix together: each row once, one published set, whoever is killed."""

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching.conftest import FRONTIER, Rows
from reuse.caching import locking
from reuse.caching.building import building_place, published
from reuse.caching.cache import ActivationCache
from reuse.caching.locking import FillShare
from reuse.errors import CacheError, UsageError
from reuse.fingerprinting.fingerprint import Fingerprint

SMALL = {"compute_rows": 2, "block_bytes": 1}  # a block is two rows


def test_waiting_for_another_writer_is_said(tmp_path, monkeypatch):
    """And a wait that is over at once is not."""
    folder, told = tmp_path / "cache" / "prefix", threading.Event()
    lines = []
    monkeypatch.setattr(locking, "PATIENCE", 0.01)
    monkeypatch.setattr(locking.log, "warning", lambda *line: (lines.append(line), told.set()))

    def write():
        with locking.writing(folder):
            pass

    write()
    assert lines == []
    waiting = threading.Thread(target=write)
    with locking.writing(folder):
        waiting.start()
        assert told.wait(60)
    waiting.join()
    assert lines == [("waiting for another process, which is writing %s", folder)]


@given(st.lists(st.booleans(), max_size=50), st.integers(1, 6))
def test_shares_are_neighbours_cover_all_and_depend_on_no_row_that_is_missing(lacking, count):
    rows, missing = len(lacking), np.flatnonzero(lacking)
    every = [FillShare(rank, count).of(np.arange(rows), rows) for rank in range(count)]
    assert np.array_equal(np.concatenate(every), np.arange(rows))
    assert max(map(len, every)) - min(map(len, every)) <= 1
    for rank, all_of_it in enumerate(every):
        assert np.array_equal(FillShare(rank, count).of(missing, rows), np.intersect1d(all_of_it, missing))


@pytest.mark.parametrize(("rank", "count"), [(2, 2), (-1, 2), (0, 0)])
def test_a_share_that_does_not_exist_is_refused(rank, count):
    with pytest.raises(UsageError, match="count from 0"):
        FillShare(rank, count)


def test_counts_add_up_and_repeated_rows_have_one_process(rows, open_cache, unsynced):
    data = rows(31)
    keys = np.concatenate([data.keys, data.keys[::-1]])
    open_cache().fill(data.keys[:7], data.compute)
    data.calls.clear()
    filled = [open_cache().fill(keys, data.compute, rank=rank, world=3, **SMALL) for rank in (2, 0, 1)]
    assert sum(part.computed for part in filled) == 24
    assert sum(part.found for part in filled) == 7
    assert sorted(data.computed) == list(range(7, 31))
    data.assert_served(open_cache(), np.arange(31))


def _fill(root, rank, world, log, barrier, kill_at=None):
    """In a process of its own: fills its share; may kill itself in the middle of it."""
    data = Rows(120)

    def compute(positions):
        with log.open("ab", buffering=0) as file:
            file.write(bytes(positions.tolist()))
        if kill_at is not None and kill_at in positions:
            os.kill(os.getpid(), signal.SIGKILL)
        return data.compute(positions)

    cache = ActivationCache(root, segment_bytes=700).open(Fingerprint({"name": "a"}), FRONTIER)
    barrier.wait()
    cache.fill(data.keys, compute, rank=rank, world=world, **SMALL)


def _together(root, world, log, killed=None):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(world)
    kill_at = {killed: 120 * killed // world + 17} if killed is not None else {}
    every = [
        context.Process(target=_fill, args=(root, rank, world, log, barrier, kill_at.get(rank)))
        for rank in range(world)
    ]
    for process in every:
        process.start()
    for process in every:
        process.join()
    return [process.exitcode for process in every]


@pytest.fixture
def importable(monkeypatch):
    """Lets a spawned process import what this file needs; it takes over this one's path."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))


@pytest.mark.slow
@pytest.mark.usefixtures("importable")
def test_two_spawned_processes_publish_one_set(rows, open_cache, tmp_path):
    log = tmp_path / "log"
    assert _together(tmp_path / "cache", 2, log) == [0, 0]
    assert sorted(log.read_bytes()) == list(range(120))  # each row once
    assert len(published(open_cache().path)) > 4
    rows(120).assert_served(open_cache(), np.random.default_rng(0).permutation(120))
    assert ActivationCache(tmp_path / "cache").verify() == []
    (entry,) = ActivationCache(tmp_path / "cache").entries()
    assert (entry.rows, entry.damage) == (120, ())


@pytest.mark.slow
@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("then", [1, 2])
def test_one_of_three_is_killed_and_its_finished_blocks_are_used(rows, open_cache, tmp_path, then):
    log, data = tmp_path / "log", rows(120)
    assert _together(tmp_path / "cache", 3, log, killed=2) == [0, 0, -signal.SIGKILL]
    data.assert_served(open_cache(), data.present(open_cache()))
    for rank in range(then):
        open_cache().fill(data.keys, data.compute, rank=rank, world=then, **SMALL)
    done = log.read_bytes()
    assert len(done) + len(data.computed) <= 120 + 2  # at most a block twice
    data.assert_served(open_cache(), np.arange(120))
    assert list(building_place(open_cache().path, 2).iterdir()) == []
    assert ActivationCache(tmp_path / "cache").verify() == []


def test_what_one_of_several_writes_is_not_removed(rows, open_cache, tmp_path, unsynced):
    data, tried = rows(20), []

    def compute(positions):
        with pytest.raises(CacheError, match="being written or read"):
            ActivationCache(tmp_path / "cache").clear()
        tried.append(ActivationCache(tmp_path / "cache").prune(0))
        return data.compute(positions)

    open_cache().fill(data.keys, compute, rank=1, world=2)
    assert tried == [0]
    assert len(data.present(open_cache())) == 10
    ActivationCache(tmp_path / "cache").clear()
    assert len(data.present(open_cache())) == 0

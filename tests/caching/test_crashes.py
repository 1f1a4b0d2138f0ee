"""A build that is cut off at any moment: what is served stays right, and what was finished stays."""

import contextlib
import os
import select
import signal
from functools import partial

import numpy as np
import pytest
import torch

from caching.disk import WAYS, Disk
from reuse.caching import journal
from reuse.caching.building import BUILDING, JOURNAL, recover
from reuse.caching.cache import ActivationCache
from reuse.caching.segment import read_header

SMALL = {"compute_rows": 2, "block_bytes": 1}  # a block is two rows


def _finished_rows(disk, count):
    """The rows whose blocks were surely on the disk after `count` operations: segment and journal synced since."""
    done = disk.operations[:count]
    notes = [index for index, (name, _) in enumerate(done) if name == "append"]
    synced = [[arguments[0].name == JOURNAL for name, arguments in done[note:] if name == "fsync"] for note in notes]
    return 2 * sum(True in since and False in since[: since.index(True)] for since in synced)


def _check(rows, open_cache, root, finished):
    """A reader gets right rows only; filling computes at most what was not finished; then all is whole."""
    data = rows(6)
    reader = open_cache(root=root)
    data.assert_served(reader, data.present(reader))
    open_cache(root=root).fill(data.keys, data.compute, **SMALL)
    assert len(data.computed) <= 6 - finished
    data.assert_served(open_cache(root=root), np.arange(6))
    assert ActivationCache(root).verify() == []
    if data.computed:  # a writer clears up what it finds
        assert list((reader.path / BUILDING).iterdir()) == []


@pytest.fixture
def recorded(tmp_path, rows, open_cache, unsynced, monkeypatch):
    """A build of three blocks in two segments, operation by operation."""
    root = tmp_path / "recorded"
    root.mkdir()
    disk, data = Disk(root), rows(6)
    with monkeypatch.context() as patch:
        disk.record(patch)
        open_cache(root=root, segment_bytes=180).fill(data.keys, data.compute, **SMALL)
    return disk


@pytest.mark.parametrize("way", WAYS)
def test_a_power_failure_after_any_operation(recorded, rows, open_cache, tmp_path, way):
    assert len([1 for name, _ in recorded.operations if name == "rename"]) >= 3  # two segments and the record
    for count in range(len(recorded.operations) + 1):
        root = tmp_path / f"{count}"
        root.mkdir()
        recorded.after(count, way, root)
        _check(rows, open_cache, root, _finished_rows(recorded, count))


@pytest.mark.parametrize("way", WAYS)
def test_a_power_failure_while_recovering_from_one(recorded, rows, open_cache, tmp_path, monkeypatch, way):
    last_note = max(index for index, (name, _) in enumerate(recorded.operations) if name == "append")
    first = tmp_path / "first"
    first.mkdir()
    recorded.after(last_note + 3, WAYS[1], first)  # segment and journal are synced
    disk = Disk(first)
    with monkeypatch.context() as patch:
        disk.record(patch)
        open_cache(root=first).fill(rows(6).keys, rows(6).compute, **SMALL)
    for count in range(len(disk.operations) + 1):
        root = tmp_path / f"{count}"
        root.mkdir()
        disk.after(count, way, root)
        _check(rows, open_cache, root, 6)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_a_hundred_times_it_loses_at_most_a_block_each_time(rows, open_cache, unsynced, tmp_path):
    """SIGKILL at random moments; a kill leaves the page cache alone, so nothing waits for the disk here."""
    torch.set_num_threads(1)
    random, data, kills, reader = np.random.default_rng(0), rows(2000), 0, open_cache(segment_bytes=4000)
    log = tmp_path / "computed"
    log.touch()
    for _ in range(400):
        survived = len(data.present(reader))
        before = log.stat().st_size
        child = _fork(partial(reader.fill, data.keys[: survived + 100], _logged(data, log), **SMALL))
        journal_path = reader.path / BUILDING / JOURNAL
        killed = _kill_within(child, random.uniform(0, 0.003), after=journal_path)
        kills += killed and journal_path.exists()
        data.assert_served(reader, data.present(reader))
        recover(reader.path)  # what the next writer does first
        kept = len(data.present(reader))
        computed = log.stat().st_size - before
        assert survived + computed - 2 <= kept <= survived + computed
        if kills == 100:
            break
    assert kills == 100  # while a segment was being built
    open_cache().fill(data.keys, data.compute, **SMALL)
    data.assert_served(open_cache(), np.arange(2000))
    assert ActivationCache(tmp_path / "cache").verify() == []


def test_a_second_process_waits_and_then_reads(rows, open_cache, tmp_path):
    data, log = rows(12), tmp_path / "computed"
    log.touch()
    (ready, go), (told, tell) = os.pipe(), os.pipe()

    def slowly(positions):
        os.write(go, b"x")
        os.read(told, 1)  # until the parent says so
        return _logged(data, log)(positions)

    child = _fork(lambda: open_cache().fill(data.keys, slowly, **SMALL))
    os.read(ready, 1)  # it holds the lock and computes
    other = _fork(lambda: open_cache().fill(data.keys, _logged(data, log), **SMALL))
    assert os.waitid(os.P_PID, other, os.WEXITED | os.WNOHANG) is None
    os.write(tell, b"y" * 100)
    for process in (child, other):
        assert os.waitpid(process, 0)[1] == 0
    assert log.stat().st_size == 12  # each row once, whoever came first
    data.assert_served(open_cache(), np.arange(12))


def test_a_finished_block_that_rotted_before_it_was_published_is_computed_again(rows, open_cache):
    data = rows(6)

    def stop(positions):
        if 4 in positions:
            raise KeyboardInterrupt
        return data.compute(positions)

    with pytest.raises(KeyboardInterrupt):
        open_cache().fill(data.keys, stop, **SMALL)
    (unfinished,) = (open_cache().path / BUILDING).glob("*.h5")
    content = bytearray(unfinished.read_bytes())
    content[read_header(unfinished).tensors[0].offset + 3] ^= 1
    unfinished.write_bytes(content)
    data.calls.clear()
    open_cache().fill(data.keys, data.compute, **SMALL)
    assert data.computed == [0, 1, 4, 5]
    data.assert_served(open_cache(), np.arange(6))


def test_a_torn_journal_is_read_up_to_the_tear(tmp_path):
    path = tmp_path / "journal"
    journal.start(path, "segment-000001.h5")
    blocks = [journal.Block(index, 2 * index, 2 * index + 2, (1, 2**32 - 1)) for index in range(3)]
    for block in blocks:
        journal.record(path, block)
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length] + b"\0" * 20)
        lines = sum(end <= length for end in ends)
        assert journal.read(path)[1] == blocks[: max(0, lines - 1)]


def test_a_flipped_bit_in_the_journal_costs_blocks_and_never_invents_them(tmp_path):
    path = tmp_path / "journal"
    journal.start(path, "segment-000001.h5")
    blocks = [journal.Block(index, 2 * index, 2 * index + 2, (index, 7)) for index in range(3)]
    for block in blocks:
        journal.record(path, block)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        found = journal.read(path)[1]
        assert found == blocks[: len(found)]
        assert len(found) < 3


def _logged(data, log):
    """Computes, and leaves one byte a row in a file that outlives the process."""

    def compute(positions):
        with log.open("ab", buffering=0) as file:
            file.write(b"." * len(positions))
        return data.compute(positions)

    return compute


def _fork(work):
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    return child


def _kill_within(child, seconds, after):
    """Kill the child `seconds` after the file `after` is there unless it ends before; returns whether it was killed."""
    ended = os.pidfd_open(child)
    while not after.exists() and not select.select([ended], [], [], 0.0002)[0]:
        pass
    select.select([ended], [], [], seconds)
    os.kill(child, signal.SIGKILL)
    os.close(ended)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

"""A build that is cut off at any moment: what is served stays right, and what was finished stays."""

import contextlib
import errno
import multiprocessing
import os
import select
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from caching.conftest import FRONTIER, Rows
from caching.disk import WAYS, Disk
from reuse.caching import files, journal
from reuse.caching.building import BUILDING, JOURNAL, published, recover
from reuse.caching.cache import ActivationCache
from reuse.caching.segment import read_header
from reuse.data.rows import read_in_order
from reuse.errors import CacheError
from reuse.fingerprinting.fingerprint import Fingerprint

KILLS = int(os.environ.get("REUSE_KILLS", "60"))
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


@pytest.mark.parametrize(
    ("dtype", "enough"),
    [
        (None, 30),
        ("int8", 10),
        pytest.param(None, KILLS, marks=pytest.mark.slow),
        pytest.param("int8", KILLS, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_many_times_it_loses_at_most_a_block_each_time(rows, open_cache, unsynced, tmp_path, dtype, enough):
    """SIGKILL at random moments; a kill leaves the page cache alone, so nothing waits for the disk here."""
    torch.set_num_threads(1)
    random, data, kills = np.random.default_rng(0), rows(4000), 0
    cache = ActivationCache(tmp_path / "cache", segment_bytes=4000)
    reader = cache.open(Fingerprint({"name": str(dtype)}), FRONTIER, dtype=dtype)
    log = tmp_path / "computed"
    log.touch()
    for _ in range(1000):
        survived = len(data.present(reader))
        before = log.stat().st_size
        child = _fork(partial(reader.fill, data.keys[: survived + 100], _logged(data, log), **SMALL))
        journal_path = reader.path / BUILDING / JOURNAL
        killed = _kill_within(child, random.uniform(0, 0.003), after=journal_path)
        kills += killed and journal_path.exists()
        _assert_right(data, reader, dtype)
        recover(reader.path)  # what the next writer does first
        kept = len(data.present(reader))
        computed = log.stat().st_size - before
        assert survived + computed - 2 <= kept <= survived + computed
        if kills == enough:
            break
    assert kills == enough  # while a segment was being built
    reader.fill(data.keys, data.compute, **SMALL)
    assert len(data.present(reader)) == 4000
    _assert_right(data, reader, dtype)
    assert cache.verify() == []


def _assert_right(data, reader, dtype):
    """Every row that is there is what was computed; in 8 bits, within half a step of the two rows of a block."""
    present = data.present(reader)
    if dtype is None:
        data.assert_served(reader, present)
    for values, exact in zip(reader.activations(data.keys[present]).resident(), data.tensors, strict=True):
        apart = (values.double() - exact[present].double()).abs()
        assert (apart <= 10 / 255 / 2 + 2**-6).all()  # normal values: a range of 10 at most; bfloat16 rounds too


def _hammer(root, name, role, number, barrier, log):
    """In a process of its own: builds, or reads what is there again and again; any wrong row ends it with an error."""
    data, random = Rows(300), np.random.default_rng(number)
    cache = ActivationCache(root, segment_bytes=1500).open(Fingerprint({"name": name}), FRONTIER)
    barrier.wait()
    if role == "build":
        cache.fill(data.keys, _logged(data, log), **SMALL)
        return
    while len(present := data.present(cache)) < 300:
        data.assert_served(cache, random.permutation(present))
        if len(present):
            mapped = cache.activations(data.keys[present], memory=0)
            order = torch.from_numpy(random.permutation(len(present)))
            with read_in_order(mapped, order) as opened:
                assert torch.equal(opened.gather(order)[0], data.tensors[0][present][order])
    data.assert_served(cache, random.permutation(300))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_builders_and_four_readers_at_once(open_cache, tmp_path, monkeypatch, kind):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))  # a spawned process takes it over
    torch.set_num_threads(1)
    context, log = multiprocessing.get_context(kind), tmp_path / "computed"
    log.touch()
    barrier = context.Barrier(6)
    roles = ["build"] * 2 + ["read"] * 4
    every = [
        context.Process(target=_hammer, args=(tmp_path / "cache", "a", role, number, barrier, log))
        for number, role in enumerate(roles)
    ]
    for process in every:
        process.start()
    for process in every:
        process.join()
    assert [process.exitcode for process in every] == [0] * 6
    assert log.stat().st_size == 300  # each row once
    assert ActivationCache(tmp_path / "cache").verify() == []


@pytest.mark.parametrize("dtype", [None, "int8"])
def test_a_published_segment_cut_off_anywhere_is_never_served(rows, tmp_path, unsynced, dtype):
    data, cache = rows(40), ActivationCache(tmp_path)
    opened = cache.open(Fingerprint({}), FRONTIER, dtype=dtype)
    opened.fill(data.keys, data.compute, **SMALL)
    (path,) = published(opened.path)
    whole, place = path.read_bytes(), read_header(path)
    needed = max(part.end for part in (*place.checked, place.checksums))
    for length in np.random.default_rng(0).integers(0, needed, 60).tolist():
        path.write_bytes(whole[:length])
        assert cache.verify() != []
        assert len(cache.open(Fingerprint({}), FRONTIER, dtype=dtype).missing(data.keys)) == 40
        mark = path.with_name(f"{path.name}.aside")
        mark.unlink()


def test_a_disk_that_fills_up_at_any_write_leaves_nothing_half_published(rows, open_cache, monkeypatch, unsynced):
    """Every write of a build fails once, in the middle: half of the bytes come to the disk."""
    real, writes, number = os.write, [], 0

    def write(descriptor, content):
        writes.append(len(content))
        if len(writes) == number:
            real(descriptor, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, content)

    for number in range(1, 14):
        name, data = f"{number}", rows(12)
        writes.clear()
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "write", write)
            with pytest.raises(CacheError, match="no room for the cache"):
                open_cache(name, segment_bytes=200).fill(data.keys, data.compute, **SMALL)
        data.assert_served(open_cache(name), data.present(open_cache(name)))
        computed = len(data.computed)
        open_cache(name).fill(data.keys, data.compute, **SMALL)
        assert len(data.computed) <= 12 + 2  # the block that did not fit
        assert computed > 0
        data.assert_served(open_cache(name), np.arange(12))
        assert ActivationCache(open_cache(name).path.parent).verify() == []


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
    """Computes, and leaves one byte a row in a file that outlives the process and is appended to by several."""

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

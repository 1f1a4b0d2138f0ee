"""Filling, finding and serving the rows of one prefix."""

import errno
import os
import pickle
import subprocess
import threading

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reuse.caching import files, segment
from reuse.caching.cache import ActivationCache
from reuse.caching.spot_checking import spot_check
from reuse.caching.storage import STORAGE
from reuse.errors import CacheError
from reuse.fingerprinting.fingerprint import Fingerprint
from reuse.layers.frontier_tensor import FrontierTensor


def test_filled_rows_are_served_bit_for_bit_in_any_order_and_by_another_opener(rows, open_cache):
    data = rows(100)
    filled = open_cache().fill(data.keys, data.compute, compute_rows=8, block_bytes=1000)
    assert (filled.computed, filled.found) == (100, 0)
    assert sorted(data.computed) == list(range(100))
    for order in (np.arange(100), np.random.default_rng(1).permutation(100), np.array([5, 5, 5, 99])):
        data.assert_served(open_cache(), order)


def test_only_rows_that_are_new_are_computed(rows, open_cache):
    data = rows(60)
    open_cache().fill(data.keys[:40], data.compute)
    data.calls.clear()
    filled = open_cache().fill(data.keys[20:], lambda positions: data.compute(positions + 20))
    assert (filled.computed, filled.found) == (20, 20)
    assert data.computed == list(range(40, 60))
    data.calls.clear()
    again = open_cache().fill(data.keys[::-1], data.compute)
    assert (again.computed, again.found, again.bytes, data.computed) == (0, 60, 0, [])
    data.assert_served(open_cache(), np.random.default_rng(0).permutation(60))


def test_repeated_rows_are_computed_once(rows, open_cache):
    data = rows(10)
    twice = np.concatenate([data.keys, data.keys[::-1]])
    cache = open_cache()
    assert cache.missing(twice).tolist() == list(range(10))
    assert cache.fill(twice, data.compute).computed == 10
    served = cache.activations(twice).resident()
    assert torch.equal(served[0], torch.cat([data.tensors[0], data.tensors[0].flip(0)]))


def test_opening_and_missing_write_nothing(rows, tmp_path, open_cache):
    assert len(open_cache().missing(rows(3).keys)) == 3
    assert not (tmp_path / "cache").exists()


def test_many_small_segments_serve_as_one(rows, open_cache):
    data = rows(90)
    filled = open_cache(segment_bytes=1200).fill(data.keys, data.compute, compute_rows=4, block_bytes=1)
    assert len(list(open_cache().path.glob("segment-*.h5"))) == 4
    assert filled.computed == 90
    data.assert_served(open_cache(), np.random.default_rng(0).permutation(90))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 40),
    compute_rows=st.integers(1, 17),
    block_bytes=st.integers(1, 900),
    segment_bytes=st.integers(1, 3000),
    first=st.integers(0, 40),
)
def test_any_sizes_serve_the_same(
    unsynced, rows, open_cache, tmp_path_factory, count, compute_rows, block_bytes, segment_bytes, first
):
    data, root = rows(count), tmp_path_factory.mktemp("cache")
    options = {"compute_rows": compute_rows, "block_bytes": block_bytes}
    cache = open_cache(root=root, segment_bytes=segment_bytes)
    cache.fill(data.keys[:first], data.compute, **options)
    cache.fill(data.keys, data.compute, **options)
    assert sorted(data.computed) == list(range(count))
    data.assert_served(open_cache(root=root), np.arange(count))
    assert ActivationCache(root).verify() == []


@pytest.mark.parametrize("dtype", [getattr(torch, name) for name in STORAGE], ids=list(STORAGE))
def test_every_type_comes_back_bit_for_bit(tmp_path, rows, dtype):
    keys = rows(7).keys
    values = torch.arange(7 * 6).reshape(7, 6).sub(20).to(dtype)
    cache = ActivationCache(tmp_path).open(Fingerprint({}), [FrontierTensor("x", (6,), dtype)])
    cache.fill(keys, lambda positions: (values[positions],))
    (served,) = cache.activations(keys).resident()
    assert served.dtype == dtype
    assert torch.equal(served.view(torch.uint8) if dtype != torch.bool else served, _bits(values))
    spot_check(cache, keys, lambda positions: (values[positions],))


def test_float_specials_and_scalar_and_empty_rows_come_back(tmp_path, rows):
    keys = rows(4).keys
    tensors = (torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]), torch.empty(4, 0, 3))
    frontier = [FrontierTensor("scalar", (), torch.float32), FrontierTensor("empty", (0, 3), torch.float32)]
    cache = ActivationCache(tmp_path).open(Fingerprint({}), frontier)
    cache.fill(keys, lambda positions: tuple(tensor[positions] for tensor in tensors))
    scalar, empty = cache.activations(keys[::-1]).resident()
    assert torch.equal(scalar.view(torch.int32), tensors[0].flip(0).view(torch.int32))
    assert empty.shape == (4, 0, 3)
    spot_check(cache, keys, lambda positions: tuple(tensor[positions] for tensor in tensors))


def test_a_type_that_cannot_be_stored_is_refused_when_opened(tmp_path):
    with pytest.raises(CacheError, match="float8_e4m3fn, which cannot be cached"):
        ActivationCache(tmp_path).open(Fingerprint({}), [FrontierTensor("x", (1,), torch.float8_e4m3fn)])


def test_a_compute_that_reuses_its_buffer_is_stored_right(rows, open_cache):
    data, buffer = rows(30), [torch.empty(4, 5), torch.empty(4, 2, 3, dtype=torch.bfloat16)]

    def compute(positions):
        for target, values in zip(buffer, data.tensors, strict=True):
            target[: len(positions)] = values[positions]
        return tuple(target[: len(positions)] for target in buffer)

    open_cache().fill(data.keys, compute, compute_rows=4)
    data.assert_served(open_cache(), np.arange(30))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tensors: tensors[:1],
        lambda tensors: (tensors[0].double(), tensors[1]),
        lambda tensors: (tensors[0][:, :4], tensors[1]),
        lambda tensors: tuple(tensor[1:] for tensor in tensors),
    ],
    ids=["number", "type", "shape", "rows"],
)
def test_something_else_than_the_frontier_is_refused(rows, open_cache, wrong):
    data = rows(4)
    with pytest.raises(CacheError, match=r"the cache holds pool float32 \(5,\)"):
        open_cache().fill(data.keys, lambda positions: wrong(data.compute(positions)))
    assert len(open_cache().missing(data.keys)) == 4


def test_one_bad_row_keeps_the_blocks_before_it(rows, open_cache):
    data = rows(20)

    def stumble(positions):
        if 13 in positions:
            raise OSError(errno.ENOENT, "no such image")
        return data.compute(positions)

    with pytest.raises(OSError, match="no such image"):  # the loader's own error, not one about the cache
        open_cache().fill(data.keys, stumble, compute_rows=4, block_bytes=1)
    data.calls.clear()
    filled = open_cache().fill(data.keys, data.compute, compute_rows=4)
    assert data.computed == list(range(12, 20))
    assert filled.computed == 8
    data.assert_served(open_cache(), np.arange(20))


def test_rows_of_another_shape_under_the_same_key_are_kept_apart(rows, tmp_path):
    keys, cache = rows(3).keys, ActivationCache(tmp_path)
    for width in (4, 7):
        opened = cache.open(Fingerprint({}), [FrontierTensor("x", (width,), torch.float32)])
        assert len(opened.missing(keys)) == 3
        opened.fill(keys, lambda positions, width=width: (torch.full((len(positions), width), float(width)),))
    for width in (4, 7):
        opened = cache.open(Fingerprint({}), [FrontierTensor("x", (width,), torch.float32)])
        assert torch.equal(opened.activations(keys).resident()[0], torch.full((3, width), float(width)))


def test_progress_adds_up(rows, open_cache):
    data, steps = rows(23), []
    open_cache().fill(data.keys, data.compute, compute_rows=5, progress=steps.append)
    assert steps == [5, 5, 5, 5, 3]


def test_rows_that_are_not_there_are_an_error(rows, open_cache):
    data = rows(5)
    open_cache().fill(data.keys[:3], data.compute)
    with pytest.raises(CacheError, match="2 of 5 rows are not in the cache"):
        open_cache().activations(data.keys)


@pytest.mark.parametrize("keys", [np.zeros((3, 8), np.uint8), np.zeros((3, 16), np.int8), np.zeros(16, np.uint8)])
def test_row_keys_of_another_form_are_refused(open_cache, keys):
    with pytest.raises(CacheError, match=r"row keys must be an array \(rows, 16\) of uint8"):
        open_cache().missing(keys)


def test_two_threads_fill_one_prefix_and_each_row_is_computed_once(rows, open_cache):
    data, started, filled = rows(40), threading.Event(), {}

    def slow(positions):
        started.set()
        second.is_alive()
        return data.compute(positions)

    def fill(name, compute):
        filled[name] = open_cache().fill(data.keys, compute, compute_rows=4, block_bytes=1)

    first, second = (threading.Thread(target=fill, args=args) for args in ((1, slow), (2, data.compute)))
    first.start()
    started.wait()
    second.start()
    first.join()
    second.join()
    assert sorted(data.computed) == list(range(40))
    assert {filled[1].computed, filled[2].computed} == {0, 40}
    data.assert_served(open_cache(), np.arange(40))


def test_another_openers_segments_are_seen_without_opening_again(rows, open_cache):
    data, reader = rows(10), open_cache()
    open_cache().fill(data.keys[:5], data.compute)
    assert reader.missing(data.keys).tolist() == [5, 6, 7, 8, 9]
    open_cache().fill(data.keys, data.compute)
    data.assert_served(reader, np.arange(10))


def test_a_reader_notices_that_a_segment_was_cleared_and_filled_with_other_rows(rows, open_cache, tmp_path):
    """The second file has the name, the size and the layout of the first."""
    data, reader = rows(10), open_cache()
    open_cache().fill(data.keys, data.compute)
    data.assert_served(reader, np.arange(10))
    ActivationCache(tmp_path / "cache").clear()
    order = np.arange(10)[::-1]
    open_cache().fill(data.keys[order], lambda positions: data.compute(order[positions]))
    data.assert_served(reader, np.arange(10))


def test_caches_and_activations_cross_processes_by_pickle(rows, open_cache):
    data, cache = rows(10), open_cache()
    cache.fill(data.keys, data.compute)
    data.assert_served(pickle.loads(pickle.dumps(cache)), np.arange(10))
    for memory in (None, 0):
        activations = pickle.loads(pickle.dumps(cache.activations(data.keys, memory=memory)))
        assert torch.equal(activations.gather(torch.tensor([3, 1]))[0], data.tensors[0][[3, 1]])


def test_mapped_activations_unpickled_after_a_clear_say_so(rows, open_cache, tmp_path):
    data, cache = rows(10), open_cache()
    cache.fill(data.keys, data.compute)
    pickled = pickle.dumps(cache.activations(data.keys, memory=0))
    ActivationCache(tmp_path / "cache").clear()
    with pytest.raises(CacheError, match="open the cache again"):
        pickle.loads(pickled)


# --- the file itself -------------------------------------------------------------------------------------------------


def test_a_segment_opens_in_plain_h5py_and_explains_itself(rows, open_cache):
    data, cache = rows(12), open_cache()
    cache.fill(data.keys, data.compute, compute_rows=5, block_bytes=1)
    (path,) = cache.path.glob("segment-*.h5")
    with h5py.File(path, "r") as file:
        assert np.array_equal(file["frontier/0_pool"][:], data.tensors[0].numpy())
        bits = file["frontier/1_mask_in"][:]
        assert np.array_equal((bits.astype(np.uint32) << 16).view(np.float32), data.tensors[1].float().numpy())
        assert file["frontier/1_mask_in"].attrs["torch_dtype"] == "bfloat16"
        assert "bfloat16" in file["frontier/1_mask_in"].attrs["how_to_read"]
        assert np.array_equal(file["row_key"][:], data.keys)
        assert file["block_checksum"].shape == (3, 4)  # two tensors, keys, units
        assert file["unit_checksum"].shape == (3, 1, 2)
        assert file.attrs["prefix_key"] == cache.key
        names = ("frontier/0_pool", "frontier/1_mask_in", "row_key", "unit_checksum", "block_checksum")
        for data_set in map(file.get, names):
            assert data_set.chunks is None
            assert data_set.compression is None
            assert data_set.id.get_offset() % 4096 == 0
            assert "what_this_is" in data_set.attrs


def test_h5dump_reads_a_segment(rows, open_cache):
    data, cache = rows(3), open_cache()
    cache.fill(data.keys, data.compute)
    (path,) = cache.path.glob("segment-*.h5")
    try:
        dump = subprocess.run(
            ["h5dump", "-d", "/frontier/0_pool", str(path)], capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        pytest.skip("no h5dump here")
    assert "H5T_IEEE_F32LE" in dump.stdout
    assert "CONTIGUOUS" in subprocess.run(["h5dump", "-pH", path], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("left", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("writable", [True, False])
def test_a_truncated_file_is_named_and_never_served(rows, open_cache, left, writable, caplog, monkeypatch):
    data, cache = rows(50), open_cache()
    cache.fill(data.keys, data.compute)
    (path,) = cache.path.glob("segment-*.h5")
    os.truncate(path, int(path.stat().st_size * left))
    if not writable:
        monkeypatch.setattr(files, "touch", lambda path: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
    reader = open_cache()
    for _ in range(2):
        assert len(reader.missing(data.keys)) == 50
    (said,) = [record.getMessage() for record in caplog.records]
    assert str(path) in said
    assert "set aside, and computed again" in said
    with pytest.raises(CacheError, match="fill it first"):
        reader.activations(data.keys)


def test_a_truncated_file_is_computed_again_beside_whole_ones(rows, open_cache, tmp_path):
    data = rows(60)
    open_cache().fill(data.keys[:30], lambda positions: data.compute(positions))
    open_cache().fill(data.keys, data.compute)
    first, _ = sorted(open_cache().path.glob("segment-*.h5"))
    os.truncate(first, 100)
    data.calls.clear()
    open_cache().fill(data.keys, data.compute)
    assert sorted(data.computed) == list(range(30))
    data.assert_served(open_cache(), np.arange(60))
    cache = ActivationCache(tmp_path / "cache")
    assert cache.verify() == []
    (entry,) = cache.entries()
    assert (entry.rows, entry.segments, entry.damage) == (60, 2, (f"{first.name} is set aside",))
    assert cache.clear() > 0
    assert not list(first.parent.glob("segment*"))


def test_a_file_of_a_later_format_or_that_may_not_be_read_is_an_error_and_stays(rows, open_cache, monkeypatch):
    data, cache = rows(5), open_cache()
    cache.fill(data.keys, data.compute)
    with monkeypatch.context() as patch:
        patch.setattr(segment.h5py, "File", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EACCES, "denied")))
        with pytest.raises(CacheError, match="cannot be read"):
            open_cache().missing(data.keys)
    with h5py.File(next(cache.path.glob("segment-*.h5")), "r+") as file:
        file.attrs["format"] = 2
    with pytest.raises(CacheError, match="is of format 2"):
        open_cache().missing(data.keys)
    assert not list(cache.path.glob("*.aside*"))


def test_a_segment_moved_under_another_key_is_refused(rows, open_cache, caplog):
    data, one, other = rows(5), open_cache("a"), open_cache("b")
    one.fill(data.keys, data.compute)
    other.fill(rows(5, seed=1).keys, rows(5, seed=1).compute)
    (one.path / "segment-000001.h5").rename(other.path / "segment-000002.h5")
    assert len(open_cache("b").missing(data.keys)) == 5
    assert "belongs to prefix" in caplog.text


# --- places that cannot be written -----------------------------------------------------------------------------------


def _fail(monkeypatch, operation, number, code):
    """Let the `number`-th call of one file operation fail."""
    real, calls = getattr(files, operation), []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            raise OSError(code, os.strerror(code))
        return real(*arguments)

    monkeypatch.setattr(files, operation, failing)


@pytest.mark.parametrize(
    ("operation", "number"),
    [("create", 2), ("allocate", 1), ("write_at", 1), ("write_at", 8), ("append", 2), ("fsync", 3), ("rename", 1)],
)
def test_a_full_disk_is_a_clear_error_and_nothing_is_lost(rows, open_cache, monkeypatch, operation, number):
    data, options = rows(24), {"compute_rows": 4, "block_bytes": 1}
    open_cache().fill(data.keys[:4], data.compute, **options)
    with monkeypatch.context() as patch:
        _fail(patch, operation, number, errno.ENOSPC)
        with pytest.raises(CacheError, match=r"no room for the cache .*bytes are free"):
            open_cache().fill(data.keys, data.compute, **options)
    data.assert_served(open_cache(), data.present(open_cache()))
    assert len(data.present(open_cache())) >= 4
    open_cache().fill(data.keys, data.compute, **options)
    data.assert_served(open_cache(), np.arange(24))
    assert list((open_cache().path / "building").iterdir()) == []


def test_room_is_reserved_before_anything_is_computed(rows, open_cache, monkeypatch):
    data = rows(8)
    _fail(monkeypatch, "allocate", 1, errno.ENOSPC)
    with pytest.raises(CacheError, match=r"\d+ bytes are needed"):
        open_cache().fill(data.keys, data.compute)
    assert data.calls == []
    assert list((open_cache().path / "building").iterdir()) == []


def test_a_folder_that_may_only_be_read_serves_and_refuses_to_fill(rows, open_cache, monkeypatch):
    data = rows(8)
    open_cache().fill(data.keys[:4], data.compute)

    def refuse(*arguments, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(arguments[0]))

    for operation in ("make_folder", "create", "append", "write_at", "rename", "remove", "touch", "fsync"):
        monkeypatch.setattr(files, operation, refuse)
    opened = os.open

    def only_read(path, flags, *more, **named):
        return refuse(path) if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else opened(path, flags, *more, **named)

    monkeypatch.setattr("os.open", only_read)  # which the lock files are opened by
    cache = open_cache()
    assert cache.fill(data.keys[:4], data.compute).found == 4
    data.assert_served(cache, np.arange(4))
    with pytest.raises(CacheError, match=r"cannot be written .*Permission denied"):
        cache.fill(data.keys, data.compute)


def _bits(values):
    return values if values.dtype == torch.bool else values.view(torch.uint8)


def test_a_real_full_disk(rows, tmp_path, open_cache):
    """A disk of 300 KB, where this machine lets us have one: half of the rows fit."""
    root = tmp_path / "small"
    root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(root)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    try:
        data = rows(6000)
        options = {"root": root, "segment_bytes": 60_000}
        with pytest.raises(CacheError, match=r"no room for the cache .*: \d+ bytes are needed, \d+ bytes are free"):
            open_cache(**options).fill(data.keys, data.compute, block_bytes=10_000)
        present = data.present(open_cache(**options))
        assert 0 < len(present) < 6000
        data.assert_served(open_cache(**options), present)
        ActivationCache(root).clear()
        assert open_cache(**options).fill(data.keys[:100], data.compute).computed == 100
    finally:
        subprocess.run(["umount", str(root)], check=True)

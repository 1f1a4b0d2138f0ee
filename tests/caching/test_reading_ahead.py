"""Rows on disk, read ahead in a known order, are the rows; whatever the order, the portions and the types."""

import gc
import pickle
import threading
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from caching.test_packing import Maps
from reuse.caching import activations, reading_ahead, stored_rows
from reuse.caching.activations import MappedActivations, ResidentActivations
from reuse.caching.header import Header
from reuse.caching.reading_ahead import divide
from reuse.caching.verifying import Verifier
from reuse.data.rows import Converted, read_in_order, windows_of
from reuse.data.windows import Windows
from reuse.errors import CacheError
from reuse.seeding import generator
from reuse.training.batches import batches, row_order

CPU = torch.device("cpu")


@pytest.fixture
def small(monkeypatch):
    """Portions of about 30 rows, read in spans of about 4, with small gaps read through."""
    monkeypatch.setattr(activations, "windows_for", lambda row_bytes: Windows(5, 30))
    monkeypatch.setattr(reading_ahead, "SPAN_BYTES", 4 * 32)
    monkeypatch.setattr(reading_ahead, "GAP_BYTES", 2 * 32)


@pytest.fixture
def filled(rows, open_cache, unsynced):
    data = rows(200)
    cache = open_cache(segment_bytes=3000)
    cache.fill(data.keys, data.compute, compute_rows=16, block_bytes=1)
    return data, cache


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 99)), max_size=60), st.integers(1, 9), st.integers(1, 9))
def test_spans_cover_all_rows_in_order_and_no_more_than_allowed(places, most, apart):
    segments, rows = (np.array(column, np.int64) for column in zip(*sorted(places), strict=True)) if places else (
        np.empty(0, np.int64), np.empty(0, np.int64))  # fmt: skip
    spans = divide(segments, rows, most, apart)
    assert [place for span in spans for place in range(span.start, span.start + span.count)] == list(range(len(rows)))
    for span in spans:
        to = slice(span.start, span.start + span.count)
        assert set(segments[to].tolist()) == {span.segment}
        assert (rows[to].min(), rows[to].max() + 1) == (span.first, span.stop)
        assert span.stop - span.first <= most
        assert (np.diff(rows[to]) <= apart).all()


@pytest.mark.usefixtures("small")
def test_what_was_checked_is_read_whole_and_not_checked_again(filled, monkeypatch):
    data, cache = filled
    source, checked, pieces = cache.activations(data.keys, memory=0), [], []
    check, divided = Verifier.check_read, Header.pieces
    monkeypatch.setattr(Verifier, "check_read", lambda *given: (checked.append(given), check(*given)))
    monkeypatch.setattr(Header, "pieces", lambda *given: pieces.append(given[3]) or divided(*given))
    monkeypatch.setattr(stored_rows, "PIECE_BYTES", 1)
    order = torch.arange(200)
    for number in range(3):
        with read_in_order(source, order) as opened:
            found = [opened.gather(some) for some in order.split(16)]
        for parts, expected in zip(zip(*found, strict=True), data.tensors, strict=True):
            assert torch.equal(torch.cat(parts), expected)
        assert bool(checked) == (1 in pieces) == (number == 0)
        checked.clear(), pieces.clear()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("order", ["windows", "straight", "random", "share", "repeated", "backwards"])
@pytest.mark.parametrize("split", ["straight", "shuffled", "repeated", "subset"])
@pytest.mark.parametrize("batch", [7, 64])
def test_batches_read_ahead_are_the_rows(filled, order, split, batch):
    data, cache = filled
    random = np.random.default_rng(3)
    chosen = {
        "straight": np.arange(200),
        "shuffled": random.permutation(200),
        "repeated": random.integers(0, 200, 150),
        "subset": np.sort(random.permutation(200)[:120]),
    }[split]
    source, count = cache.activations(data.keys[chosen], memory=0), len(chosen)
    numbers = {
        "windows": row_order(count, seed=1, epoch=2, shuffle=True, device=CPU, windows=windows_of(source)),
        "straight": torch.arange(count),
        "random": torch.randperm(count, generator=generator(0, 0)),
        "share": row_order(count, seed=1, epoch=2, shuffle=True, device=CPU, windows=windows_of(source))[1::3],
        "repeated": torch.randint(count, (300,), generator=generator(0, 0)),
        "backwards": torch.arange(count).flip(0),
    }[order]
    sizes = [len(part) for part in numbers.split(batch)]
    found = list(batches(source, torch.arange(count), numbers, sizes, CPU))
    assert torch.equal(torch.cat([batch.targets for batch in found]), numbers)
    for index, whole in enumerate(data.tensors):
        assert torch.equal(torch.cat([batch.inputs[index] for batch in found]), whole[chosen][numbers])


@pytest.mark.usefixtures("small", "unsynced")
@pytest.mark.parametrize("dtype", ["int8", "float16"])
def test_narrow_rows_are_unpacked_on_the_way(tmp_path, dtype):
    data = Maps()
    data.tensors = (data.tensors[0] / 1000, data.tensors[1])
    cache = data.open(tmp_path, dtype)
    cache.fill(data.keys, data.compute, compute_rows=4, block_bytes=1)
    mapped, whole = (cache.activations(data.keys, memory=memory) for memory in (0, None))
    order = torch.randperm(30, generator=generator(0, 0))
    for source, other in (
        (mapped, whole),
        (Converted(mapped, (torch.float64,) * 2), Converted(whole, (torch.float64,) * 2)),
    ):
        with read_in_order(source, order) as rows:
            for indices in order.split(8):
                for got, expected in zip(rows.gather(indices), other.gather(indices), strict=True):
                    assert got.dtype == expected.dtype
                    assert torch.equal(got, expected)


@pytest.mark.usefixtures("small")
def test_rows_out_of_turn_come_all_the_same(filled):
    data, cache = filled
    source, order = cache.activations(data.keys, memory=0), torch.arange(200)
    with read_in_order(source, order) as rows:
        assert torch.equal(rows.gather(order[:10])[0], data.tensors[0][:10])
        assert torch.equal(rows.gather(torch.tensor([150, 3]))[0], data.tensors[0][[150, 3]])
        assert torch.equal(rows.gather(order[10:90])[0], data.tensors[0][10:90])
        assert len(rows.gather(torch.arange(0))[0]) == 0
        assert torch.equal(rows.gather(order[90:])[1], data.tensors[1][90:])
        assert rows.resident() is None
        assert (len(rows), rows.shapes) == (200, ((5,), (2, 3)))


@pytest.mark.usefixtures("small")
def test_an_epoch_that_is_left_early_leaves_no_thread(filled):
    data, cache = filled
    before = threading.active_count()
    for _ in range(3):
        every = batches(cache.activations(data.keys, memory=0), None, torch.arange(200), [20] * 10, CPU)
        next(every)
        assert threading.active_count() > before
        every.close()
    gc.collect()
    assert threading.active_count() == before


@pytest.mark.usefixtures("small")
def test_a_file_that_goes_away_is_an_error_and_no_wrong_row(filled):
    data, cache = filled
    source = cache.activations(data.keys, memory=0)
    with read_in_order(source, torch.arange(200)) as rows:
        rows.gather(torch.arange(10))
        for path in cache.path.glob("segment-*.h5"):
            path.write_bytes(b"other")
        with pytest.raises(CacheError, match="open the cache again"):
            _ = [rows.gather(indices) for indices in torch.arange(10, 200).split(10)]


def test_rows_on_disk_are_shuffled_by_windows_and_a_resumed_run_says_what_it_began_with(filled):
    data, cache = filled
    resident, mapped = cache.activations(data.keys), cache.activations(data.keys, memory=0)
    assert (type(resident), resident.windows) == (ResidentActivations, None)
    assert isinstance(mapped, MappedActivations)
    again = cache.activations(data.keys, windowed=True)  # there is more memory now
    assert (type(again), again.windows) == (ResidentActivations, mapped.windows)
    assert again.windows is not None
    assert cache.activations(data.keys, memory=0, windowed=False).windows is None
    assert windows_of(Converted(mapped, (torch.float64,) * 2)) == mapped.windows


@pytest.mark.usefixtures("small")
def test_epochs_read_into_the_same_memory_and_two_at_once_do_not(filled, monkeypatch):
    data, cache = filled
    taken, take = [], reading_ahead.SpareMemory.take

    def noting(self, stored, rows):
        taken.append(take(self, stored, rows))
        return taken[-1]

    monkeypatch.setattr(reading_ahead.SpareMemory, "take", noting)
    source, order = cache.activations(data.keys, memory=0), torch.arange(200)
    with read_in_order(source, order) as one, read_in_order(source, order.flip(0)) as other:
        for indices in order.split(10):
            assert torch.equal(one.gather(indices)[0], data.tensors[0][indices])
            assert torch.equal(other.gather(199 - indices)[0], data.tensors[0][199 - indices])
    with read_in_order(source, order) as again:
        assert torch.equal(again.gather(order[:50])[0], data.tensors[0][:50])
    places = [tensors[0].data_ptr() for tensors in taken]
    assert len(set(places[:4])) == 4
    assert set(places[4:]) < set(places[:4])


@pytest.mark.usefixtures("small")
def test_who_has_stopped_reading_gets_no_row_of_another_epoch(filled):
    data, cache = filled
    source, order = cache.activations(data.keys, memory=0), torch.arange(200)
    with read_in_order(source, order) as stopped:
        stopped.gather(order[:10])
    with read_in_order(source, order.flip(0)) as other:
        other.gather(order.flip(0)[:10])
        assert torch.equal(stopped.gather(order[10:20])[0], data.tensors[0][10:20])
        assert len(stopped.gather(order[:0])[0]) == 0


@pytest.mark.usefixtures("small")
def test_memory_that_is_left_is_that_of_one_reader_and_stays_in_its_process(filled):
    data, cache = filled
    splits, order = [cache.activations(data.keys, memory=0) for _ in range(3)], torch.arange(200)
    spare = splits[0]._spare
    assert all(split._spare is spare for split in splits)
    with ExitStack() as open_ones:
        for rows in splits:
            open_ones.enter_context(read_in_order(rows, order)).gather(order[:10])
    assert len(spare._spare) == 2
    assert not pickle.loads(pickle.dumps(spare))._spare

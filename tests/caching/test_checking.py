"""Every published byte is checked: a flipped bit is found, or changes nothing that is read."""

import zlib

import h5py
import numpy as np
import pytest
import torch

from reuse.caching import activations, checking, stored_rows
from reuse.caching.cache import ActivationCache
from reuse.caching.segment import read_header
from reuse.caching.segment_rows import rows_of
from reuse.errors import CacheError


@pytest.fixture
def segment(rows, open_cache):
    data = rows(9)
    open_cache().fill(data.keys, data.compute, compute_rows=4, block_bytes=1)
    (path,) = open_cache().path.glob("segment-*.h5")
    return path


def _flip(path, place, bit):
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ (1 << bit)]))


@pytest.mark.parametrize("part_bytes", [1, 200, checking.PART_BYTES])  # a block at a time, a few, all
def test_any_flipped_bit_in_rows_keys_or_checksums_is_found_and_named(segment, tmp_path, part_bytes, monkeypatch):
    monkeypatch.setattr(checking, "PART_BYTES", part_bytes)
    header, random = read_header(segment), np.random.default_rng(0)
    cache = ActivationCache(tmp_path / "cache")
    assert cache.verify() == []
    for place in (*header.checked, header.checksums):
        for offset in random.integers(place.offset, place.end, 12):
            bit = int(random.integers(8))
            _flip(segment, int(offset), bit)
            (problem,) = cache.verify()
            assert problem.path == segment
            assert "wrong checksum" in problem.what
            _flip(segment, int(offset), bit)
    assert cache.verify() == []


def test_a_flipped_bit_names_the_rows_that_it_hit(segment, tmp_path):
    place = read_header(segment).tensors[0]
    _flip(segment, place.offset + 5 * place.row_bytes, 0)
    (problem,) = ActivationCache(tmp_path / "cache").verify(segment.parent.name)
    assert "rows 4 to 7 of pool" in problem.what


def test_a_flipped_bit_in_the_description_is_found_or_changes_nothing(segment, tmp_path, rows, open_cache):
    """HDF5's own metadata: outside the data sets and their padding."""
    header, data, mark = read_header(segment), rows(9), segment.with_name(f"{segment.name}.aside")
    first = min(place.offset for place in header.checked)
    content = np.frombuffer(segment.read_bytes(), np.uint8)
    for place in np.flatnonzero(content[:first])[::23].tolist():
        _flip(segment, place, 3)
        found = ActivationCache(tmp_path / "cache").verify()
        try:
            reader = open_cache()
            present = data.present(reader)
            data.assert_served(reader, present)
            harmless = len(present) == 9
        except CacheError:
            harmless = False
        assert harmless or found
        mark.unlink(missing_ok=True)
        _flip(segment, place, 3)


def test_a_truncated_file_and_a_damaged_record_are_problems_not_errors(segment, tmp_path):
    cache = ActivationCache(tmp_path / "cache")
    record = segment.parent / "prefix.json"
    record.write_text(record.read_text().replace('"a"', '"b"'))
    assert [problem.path for problem in cache.verify()] == [record]
    record.write_text("{")
    segment.write_bytes(segment.read_bytes()[:5000])
    assert {problem.path for problem in cache.verify()} == {record, segment}
    (entry,) = cache.entries()
    assert (entry.rows, entry.segments, len(entry.damage)) == (0, 1, 2)


@pytest.fixture
def large_run(monkeypatch):
    """Every run is long enough to be read past the map."""
    monkeypatch.setattr(stored_rows, "LONG_RUN_BYTES", 1)


ORDERS = {
    "straight": lambda count: np.arange(count),
    "shuffled": lambda count: np.random.default_rng(1).permutation(count),
    "repeated": lambda count: np.arange(2 * count) % count,
    "most": lambda count: np.arange(1, count),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("column", [0, 1])
def test_a_flipped_bit_is_an_error_when_rows_are_loaded(segment, rows, open_cache, column, order):
    data, header = rows(9), read_header(segment)
    place = header.tensors[column]
    data.assert_served(open_cache(), ORDERS[order](9))
    _flip(segment, place.offset + 5 * place.row_bytes + 1, 3)
    name = header.frontier[column].name
    with pytest.raises(CacheError, match=f"block 1, rows 4 to 7 of {name}") as error:
        open_cache().activations(data.keys[ORDERS[order](9)])
    for part in (str(segment), "`reuse cache verify`", f"`reuse cache clear {segment.parent.name}`"):
        assert part in str(error.value)


@pytest.mark.usefixtures("large_run")
def test_every_flipped_bit_of_what_is_loaded_is_found(segment, rows, open_cache):
    data, header, random = rows(9), read_header(segment), np.random.default_rng(0)
    for place in header.tensors:
        for offset in random.integers(place.offset, place.end, 12):
            bit = int(random.integers(8))
            _flip(segment, int(offset), bit)
            with pytest.raises(CacheError, match="wrong checksum"):
                open_cache().activations(data.keys)
            _flip(segment, int(offset), bit)
    data.assert_served(open_cache(), np.arange(9))


def test_a_flipped_bit_is_found_on_the_way_to_a_device(segment, rows, open_cache, monkeypatch):
    """`meta` stands for a device; portions of 3 rows cut every block of 4 in two."""
    data, place, meta = rows(9), read_header(segment).tensors[1], torch.device("meta")
    monkeypatch.setattr(activations, "STAGING_BYTES", 3 * 32)
    assert len(open_cache().activations(data.keys, device=meta, memory=10**6)) == 9
    for row in (0, 3, 8):
        _flip(segment, place.offset + row * place.row_bytes, 0)
        with pytest.raises(CacheError, match="wrong checksum"):
            open_cache().activations(data.keys, device=meta, memory=10**6)
        _flip(segment, place.offset + row * place.row_bytes, 0)


def test_a_few_rows_of_a_block_are_checked_too(segment, rows, open_cache):
    """With the unit that they lie in, here the whole block of 4 rows."""
    data, place = rows(9), read_header(segment).tensors[0]
    _flip(segment, place.offset, 0)
    for some in ([0], [1], [0, 1]):
        with pytest.raises(CacheError, match="wrong checksum"):
            open_cache().activations(data.keys[some])
    data.assert_served(open_cache(), np.array([4, 8]))


def test_a_truncated_segment_is_an_error_when_rows_are_loaded(segment, rows, open_cache):
    whole, data = segment.read_bytes(), rows(9)
    for length in (0, 100, len(whole) // 2, len(whole) - 1):
        segment.write_bytes(whole[:length])
        with pytest.raises(CacheError, match="9 of 9 rows are not in the cache"):
            open_cache().activations(data.keys)
        segment.with_name(f"{segment.name}.aside").unlink()


def test_older_segments_with_crc_32_are_read_and_checked(segment, rows, open_cache, tmp_path):
    """As they were written: a data set `block_crc` of zlib's 32 bits in place of `block_checksum`, and no units."""
    header, data = read_header(segment), rows(9)
    parts = [
        [rows_of(header, place)[start:stop].tobytes() for place in header.written] for start, stop in header.blocks
    ]
    with h5py.File(segment, "r+", libver=("v110", "v110")) as file:
        del file["block_checksum"], file["unit_checksum"]
        file["block_crc"] = np.array([[zlib.crc32(part) for part in block] for block in parts], "<u4")
    assert ActivationCache(tmp_path / "cache").verify() == []
    data.assert_served(open_cache(), np.arange(9))
    _flip(segment, header.tensors[0].offset + 100, 2)
    (problem,) = ActivationCache(tmp_path / "cache").verify()
    assert "wrong checksum" in problem.what
    with pytest.raises(CacheError, match="wrong checksum"):
        open_cache().activations(data.keys)

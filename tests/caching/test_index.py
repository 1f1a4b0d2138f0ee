"""Row keys are found wherever they lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reuse.caching.index import as_bytes, first_places


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=20))
def test_keys_as_bytes_keep_every_byte(keys):
    array = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)
    assert as_bytes(array) == keys
    assert as_bytes(array[::-1]) == keys[::-1]


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_rows_are_numbered_through_all_segments(rows, open_cache, order):
    data, cache = rows(30), open_cache()
    cache.fill(data.keys[:10], data.compute)
    cache.fill(data.keys, data.compute)
    cache.missing(data.keys)
    places = cache._index.find(data.keys[order])
    assert places.tolist() == list(range(30))[order]
    segments, inside = cache._index.split(places)
    assert segments.tolist() == ([0] * 10 + [1] * 20)[order]
    assert inside.tolist() == (list(range(10)) + list(range(20)))[order]


@given(st.lists(st.integers(0, 9), max_size=30))
def test_first_places_are_where_each_key_is_first(numbers):
    keys = np.repeat(np.array(numbers, np.uint8)[:, None], 16, axis=1)
    assert first_places(keys).tolist() == [at for at, number in enumerate(numbers) if number not in numbers[:at]]

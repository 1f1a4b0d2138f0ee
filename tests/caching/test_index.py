"""Row keys are found wherever they lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reuse.caching.index import as_bytes


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

"""Joined inputs are their parts one after the other, in whatever order rows are asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reuse.data.dataset import SPLITS
from reuse.data.inputs import JoinedInputs
from reuse.data.loading import load
from reuse.errors import DataError

DATA = load({"x": np.random.default_rng(0).normal(size=(20, 3)), "y": np.arange(20) % 2}, valid_fraction=0)
PARTS = [getattr(DATA, name).inputs for name in SPLITS]  # the second is empty
ALL = torch.cat([part.gather(torch.arange(len(part)))[0] for part in PARTS])


@given(st.lists(st.integers(0, 19), max_size=30))
def test_rows_come_in_the_order_asked_for(indices: list[int]) -> None:
    places = torch.tensor(indices, dtype=torch.int64)
    (found,) = JoinedInputs(PARTS).gather(places)
    assert torch.equal(found, ALL[places])


def test_all_rows_and_digests() -> None:
    joined = JoinedInputs(PARTS)
    assert (len(joined), joined.shape, joined.names()) == (20, (3,), None)
    resident = joined.resident()
    assert resident is not None
    assert torch.equal(resident, ALL)
    assert joined.digests().tolist() == [digest for part in PARTS for digest in part.digests().tolist()]


def test_what_cannot_be_joined_is_refused() -> None:
    other = load({"x": np.zeros((8, 2)), "y": np.arange(8) % 2})
    with pytest.raises(DataError, match=r"these have \[\(2,\), \(3,\)\]"):
        JoinedInputs([DATA.train.inputs, other.train.inputs])
    with pytest.raises(DataError, match="none"):
        JoinedInputs([])

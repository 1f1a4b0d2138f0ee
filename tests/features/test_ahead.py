"""Batches are prepared while the one before is computed, and are the same as without."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from reuse.data.inputs import Inputs
from reuse.devices import Compute
from reuse.features.ahead import PreparedAhead

CPU = Compute(torch.device("cpu"), "float32")


class Numbers(Inputs):
    """Rows that are their own positions; who prepared which is noted."""

    shape = (2,)

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.prepared: list[tuple[list[int], bool]] = []

    def _prepare(self, indices: np.ndarray) -> Tensor:
        self.prepared.append((indices.tolist(), threading.current_thread() is threading.main_thread()))
        if 13 in indices:
            raise ValueError("unlucky")
        return torch.from_numpy(indices)[:, None].float().expand(-1, 2)

    def _digest(self) -> np.ndarray:
        raise NotImplementedError


def batches(order: Sequence[int], sizes: Sequence[int]) -> list[np.ndarray]:
    return np.split(np.asarray(order), np.cumsum(sizes)[:-1])


def test_every_batch_but_the_first_is_prepared_in_the_background() -> None:
    rows, order = Numbers(12), np.array([0, 2, 3, 5, 6, 7, 9, 11])
    with PreparedAhead(rows, order, 3, CPU) as ahead:
        for positions in batches(order, [3, 3, 2]):
            assert ahead.take(positions)[0][:, 0].tolist() == positions.tolist()
    assert rows.prepared == [([0, 2, 3], True), ([5, 6, 7], False), ([9, 11], False)]


def test_the_next_batch_is_begun_before_the_present_one_is_computed() -> None:
    rows = Numbers(4)
    begun = threading.Event()
    prepare = rows._prepare

    def noting(indices: np.ndarray) -> Tensor:
        if threading.current_thread() is not threading.main_thread():
            begun.set()
        return prepare(indices)

    rows._prepare = noting  # type: ignore[method-assign]
    with PreparedAhead(rows, np.arange(4), 2, CPU) as ahead:
        ahead.take(np.array([0, 1]))
        assert begun.wait(10)  # while the caller computes


@pytest.mark.parametrize("sizes", [[3, 3, 2], [2, 3, 3], [1] * 8, [8]])
def test_blocks_that_end_within_a_batch(sizes: list[int]) -> None:
    rows, order = Numbers(12), np.array([0, 2, 3, 5, 6, 7, 9, 11])
    with PreparedAhead(rows, order, 3, CPU) as ahead:
        for positions in batches(order, sizes):
            assert ahead.take(positions)[0][:, 0].tolist() == positions.tolist()


def test_rows_that_another_process_has_stored_meanwhile_are_left_out() -> None:
    rows = Numbers(10)
    with PreparedAhead(rows, np.arange(10), 3, CPU) as ahead:
        for positions in ([0, 1, 2], [6, 7, 8], [9]):
            assert ahead.take(np.array(positions))[0][:, 0].tolist() == positions


def test_an_error_of_the_background_reaches_who_asks() -> None:
    with PreparedAhead(Numbers(20), np.arange(20), 10, CPU) as ahead:
        ahead.take(np.arange(10))
        with pytest.raises(ValueError, match="unlucky"):
            ahead.take(np.arange(10, 20))


def test_types_are_those_of_the_computation() -> None:
    with PreparedAhead(Numbers(3), np.arange(3), 3, Compute(torch.device("cpu"), "float64")) as ahead:
        assert ahead.take(np.arange(3))[0].dtype == torch.float64

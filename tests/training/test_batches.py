"""Every row once an epoch, in an order that depends on seed and epoch alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reuse.data.rows import Resident
from reuse.errors import DataError, UsageError
from reuse.training.batches import batch_sizes, batches, beside, row_order

CPU = torch.device("cpu")


@given(st.integers(1, 300), st.integers(1, 50))
def test_batches_hold_every_row_and_one_row_never_stands_alone(rows: int, size: int) -> None:
    sizes = batch_sizes(rows, size)
    assert sum(sizes) == rows
    assert all(found == size for found in sizes[:-1])
    if rows > 1 and size > 1:
        assert 2 <= sizes[-1] <= size + 1


@given(st.integers(1, 100), st.integers(0, 2**40), st.integers(0, 50))
def test_an_epoch_is_a_permutation_that_repeats(rows: int, seed: int, epoch: int) -> None:
    first = row_order(rows, seed=seed, epoch=epoch, shuffle=True, device=CPU)
    torch.rand(3)  # the global random state has no say
    again = row_order(rows, seed=seed, epoch=epoch, shuffle=True, device=CPU)
    assert torch.equal(first.sort().values, torch.arange(rows))
    assert torch.equal(first, again)


def test_seeds_and_epochs_differ() -> None:
    orders = {
        tuple(row_order(50, seed=seed, epoch=epoch, shuffle=True, device=CPU).tolist())
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(orders) == 16


def test_without_shuffling_rows_keep_their_order() -> None:
    order = row_order(5, seed=9, epoch=3, shuffle=False, device=CPU)
    found = batches(Resident(torch.arange(5) * 10), None, order, batch_sizes(5, 2), CPU)
    assert [batch.inputs[0].tolist() for batch in found] == [[0, 10], [20, 30, 40]]


def test_a_batch_holds_the_rows_and_targets_of_its_numbers() -> None:
    first, second, targets = torch.arange(14).view(7, 2), torch.arange(7) * 10, torch.arange(7) * 100
    order = torch.tensor([3, 1, 6, 0, 5, 2, 4])
    found = list(batches(Resident(first, second), targets, order, [3, 4], CPU))
    for batch, rows in zip(found, [[3, 1, 6], [0, 5, 2, 4]], strict=True):
        assert batch.inputs[0].tolist() == [[2 * row, 2 * row + 1] for row in rows]
        assert batch.inputs[1].tolist() == [10 * row for row in rows]
        assert batch.targets is not None
        assert batch.targets.tolist() == [100 * row for row in rows]
    assert all(batch.targets is None for batch in batches(Resident(first), None, order, [3, 4], CPU))


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(DataError, match="3 on cpu, 4 on cpu"):
        Resident(torch.zeros(3), torch.zeros(4))
    with pytest.raises(DataError):
        Resident()
    with pytest.raises(DataError, match="3 rows and 4 targets"):
        beside(Resident(torch.zeros(3)), torch.zeros(4))
    with pytest.raises(UsageError, match="batch size is 0"):
        batch_sizes(10, 0)
    with pytest.raises(DataError, match="no rows"):
        batch_sizes(0, 10)

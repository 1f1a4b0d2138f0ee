"""Columns that are several inputs, drawn in exact numbers, and values from each column's own marginal."""

import pytest
import torch

from reuse.nn.columns import Columns, Marginal

WIDTHS = (1, 3, 1, 2)


@pytest.mark.parametrize(("share", "expected"), [(0.01, 1), (0.3, 1), (0.5, 2), (0.6, 2), (0.99, 3)])
def test_exactly_so_many_columns_are_drawn_in_each_row(share: float, expected: int) -> None:
    drawn = Columns(WIDTHS).draw(200, share)
    assert torch.equal(drawn.sum(1), torch.full((200,), expected))
    assert drawn.float().mean(0).min() > 0, "each column has its turn"


def test_all_inputs_of_a_column_go_together() -> None:
    spread = Columns(WIDTHS).spread(torch.tensor([[False, True, False, True]]))
    assert spread.tolist() == [[False, True, True, True, False, True, True]]


def test_values_of_a_column_are_drawn_from_its_own_rows() -> None:
    torch.manual_seed(0)
    numbers, category = torch.randn(30, 2), torch.eye(3)[torch.randint(3, (30,))]
    rows = torch.cat([numbers[:, :1], category, numbers[:, 1:]], 1)
    drawn = Marginal(rows, Columns((1, 3, 1)))(5000)
    assert torch.equal(drawn[:, 1:4].sum(1), torch.ones(5000)), "one category each, of one row"
    for place in (0, 4):
        assert set(drawn[:, place].tolist()) == set(rows[:, place].tolist())
    torch.testing.assert_close(drawn.mean(0), rows.mean(0), rtol=0, atol=0.06)
    pairs = {(first, last) for first, last in drawn[:, [0, 4]].tolist()}
    assert len(pairs) > 30, "columns are drawn apart from each other"


def test_what_is_not_drawn_stays_as_it_was() -> None:
    columns = Columns(WIDTHS)
    marginal = Marginal(torch.full((4, 7), 9.0), columns)
    x = torch.zeros(50, 7)
    corrupted, replaced = marginal.corrupt(x, 0.5)
    assert torch.equal(corrupted == 9, columns.spread(replaced))
    assert torch.equal(x, torch.zeros(50, 7))

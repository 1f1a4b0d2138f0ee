"""Pairs within a batch: exact counts of each sort, labels of every kind."""

import pytest
import torch

from reuse.objectives.pairs import draw_balanced, same_kind, squared_distances


@pytest.mark.parametrize("num_same", [0, 1, 7, 12, 20])
def test_as_many_pairs_of_each_sort_as_there_are_of_the_rarer(num_same: int) -> None:
    same = torch.arange(20)[torch.randperm(20)] < num_same
    seen = torch.zeros(20, dtype=torch.bool)
    for _ in range(100):
        drawn = draw_balanced(same)
        assert (drawn & same).sum() == (drawn & ~same).sum() == min(num_same, 20 - num_same)
        seen |= drawn
    assert bool(seen.all()) == (0 < num_same < 20), "every pair has its turn"


def test_rows_are_of_one_kind_where_all_their_labels_are_equal() -> None:
    assert same_kind(torch.tensor([2, 0, 2])).tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]
    several = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    assert same_kind(several)[0].tolist() == [True, False, True]


def test_distances_are_those_of_a_loop_and_exact_between_equal_points() -> None:
    points = torch.randn(5, 3, dtype=torch.float64) + 1e6
    expected = torch.tensor([[((a - b) ** 2).sum() for b in points] for a in points], dtype=torch.float64)
    torch.testing.assert_close(squared_distances(points, points), expected, rtol=1e-12, atol=0)
    assert not squared_distances(points, points).diag().any()

"""Few labels and chosen classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reuse.data.labels import parse_labels
from reuse.data.loading import load
from reuse.errors import DataError, UsageError


def labelled(data) -> set[int]:
    return set(data.train.rows.tolist()) | set(data.valid.rows.tolist())


def test_labels_count_training_and_validation_together_and_leave_the_test_split():
    whole, few = load("digits"), load("digits", labels=100)
    assert few.sizes == {"train": 80, "valid": 20, "test": whole.sizes["test"]}
    assert set(few.test.rows) == set(whole.test.rows)
    assert labelled(few) <= labelled(whole)
    assert np.bincount(few.valid.targets, minlength=10).min() >= 1


def test_labels_per_class():
    data = load("digits", labels="10/class")
    counts = np.bincount(np.concatenate([data.train.targets, data.valid.targets]), minlength=10)
    assert counts.tolist() == [10] * 10


@settings(deadline=None, max_examples=20)
@given(small=st.integers(3, 40), more=st.integers(0, 40), seed=st.integers(0, 5))
def test_more_labels_contain_fewer(small, more, seed):
    y = np.array([0] * 60 + [1] * 30 + [2] * 20)
    x = np.arange(110.0)[:, None]
    few, many = (load((x, y), labels=n, seed=seed) for n in (small, small + more))
    assert labelled(few) <= labelled(many)
    assert len(labelled(few)) == small


def test_classes_get_labels_in_proportion_to_their_size():
    y = np.array([0] * 600 + [1] * 300 + [2] * 100)
    data = load((np.arange(1000.0)[:, None], y), labels=50)
    counts = np.bincount(y[list(labelled(data))])
    assert np.abs(counts - np.array([30, 15, 5])).max() <= 1


def test_regression_takes_any_rows():
    data = load("diabetes", labels=50)
    assert data.sizes["train"] == 40
    assert data.sizes["valid"] == 10


def test_one_label_a_class_leaves_validation_empty_and_says_so():
    data = load("digits", labels=10)
    assert data.sizes["train"] == 10
    assert data.sizes["valid"] == 0
    assert any("none for validation" in note for note in data.notes)


@pytest.mark.parametrize("labels", [0, -1, "ten", "10/classes", "1.5", "", True, "٣"])
def test_labels_are_parsed_strictly(labels):
    with pytest.raises(UsageError, match="labels="):
        parse_labels(labels)


def test_labels_that_cannot_be_drawn():
    with pytest.raises(DataError, match="at least one a class"):
        load("digits", labels=9)
    with pytest.raises(DataError, match="there are 1437 rows outside the test split"):
        load("digits", labels=1438)
    with pytest.raises(DataError, match="rows of class"):
        load("iris", labels="41/class")
    with pytest.raises(UsageError, match="only classification"):
        load("diabetes", labels="3/class")
    with pytest.raises(UsageError, match="no targets"):
        load({"x": np.zeros((9, 2))}, labels=3)


def test_classes_are_renumbered_and_keep_their_names():
    whole, data = load("iris"), load("iris", classes="virginica,0")
    assert data.classes == ("setosa", "virginica")
    assert data.num_outputs == 2
    by_row = dict(zip(whole.test.rows.tolist(), whole.test.targets.tolist(), strict=True))
    for row, target in zip(data.test.rows.tolist(), data.test.targets.tolist(), strict=True):
        assert by_row[row] == {0: 0, 1: 2}[target]


def test_ranges_and_lists_of_classes():
    assert load("digits", classes="0-7").classes == tuple("01234567")
    assert load("digits", classes=[5, 6]).classes == ("5", "6")
    assert load("digits", classes="1, 3-4").classes == ("1", "3", "4")


def test_a_number_is_a_name_where_classes_are_called_by_numbers():
    x, y = np.zeros((30, 1)), np.tile([10, 20, 30], 10)
    assert load((x, y), classes="10,30").classes == ("10", "30")
    with pytest.raises(UsageError, match="class '0' is not there"):
        load((x, y), classes="0,10")


@pytest.mark.parametrize("classes", ["7-3", "cat", "", "0-99", "-1"])
def test_unknown_classes_are_refused(classes):
    with pytest.raises(UsageError, match="class"):
        load("digits", classes=classes)


def test_unknown_class_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'virginica'"):
        load("iris", classes="virginicca,setosa")

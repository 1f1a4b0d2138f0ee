"""Targets: the standard scale in which numbers are learned."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from reuse.data.loading import load
from reuse.data.targets import TargetScale, encode_targets

RNG = np.random.default_rng(3)


def test_the_scale_is_that_of_scikit_learn_and_undone() -> None:
    values = RNG.normal([5.0, -2e6], [0.1, 400.0], (50, 2))
    scale = TargetScale.fit(values)
    np.testing.assert_allclose(scale.standardised(torch.tensor(values)), StandardScaler().fit_transform(values))
    np.testing.assert_allclose(scale.restored(scale.standardised(torch.tensor(values))), values)
    assert TargetScale.from_dict(scale.to_dict()) == scale


def test_a_constant_target_is_only_moved() -> None:
    scale = TargetScale.fit(np.full((9, 1), 7.0))
    assert scale == TargetScale((7.0,), (1.0,))


def test_large_targets_keep_their_digits() -> None:
    y = 1.7e9 + RNG.normal(0, 3, 60)  # float32 knows multiples of 128 here
    data = load((RNG.normal(size=(60, 2)), y))
    assert data.train.targets is not None
    np.testing.assert_array_equal(data.train.targets[:, 0], y[data.train.rows])


def test_the_scale_is_fitted_to_the_training_rows_and_said() -> None:
    y = RNG.normal(200, 9, 60)
    data = load((RNG.normal(size=(60, 2)), y))
    train = y[data.train.rows]
    assert data.target_scale is not None
    np.testing.assert_allclose([*data.target_scale.mean, *data.target_scale.std], [train.mean(), train.std()])
    assert any(f"standardised on the training rows (mean {train.mean():g}" in note for note in data.notes)
    assert load("iris").target_scale is None


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.uint8, bool])
def test_one_hot_rows_are_classes_whatever_their_type(kind: type) -> None:
    numbers = np.array([2, 0, 1, 1, 2])
    found = encode_targets(np.eye(3)[numbers].astype(kind))
    assert (found.task, found.classes) == ("classification", ("0", "1", "2"))
    assert found.values.tolist() == numbers.tolist()
    assert "one-hot" in found.note
    named = encode_targets(np.eye(3)[numbers].astype(kind), ("cat", "dog", "eel"))
    assert named.classes == ("cat", "dog", "eel")


@pytest.mark.parametrize("kind", [np.float32, np.int64, bool])
def test_several_ones_a_row_are_labels_whatever_their_type(kind: type) -> None:
    rows = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]])
    found = encode_targets(rows.astype(kind))
    assert found.task == "multilabel"
    assert found.values.tolist() == rows.tolist()


def test_shares_are_numbers() -> None:
    assert encode_targets(np.array([[0.5, 0.5], [0.25, 0.75]])).task == "regression"


def test_class_names_that_differ_in_a_last_zero_byte_are_two():
    assert encode_targets(np.array(["a", "a\0", "a", None], object)).classes == ("a", "a\0")


@pytest.mark.parametrize("kind", [str, object])
def test_an_empty_text_is_no_label(kind: type) -> None:
    data = load((np.arange(60.0).reshape(30, 2), np.array(["u", "v", ""] * 10, kind)))
    assert data.classes == ("u", "v")
    assert "10 of 30 rows have no label: they are left aside" in data.notes


def test_a_target_that_is_always_the_same_is_said() -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    assert "the target is 2.5 in every training row: there is nothing to learn" in load((x, np.full(40, 2.5))).notes
    several = np.stack([np.arange(40) / 8, np.full(40, 0.1)], 1)
    assert "target 1 (from 0) is 0.1 in every training row: there is nothing to learn" in load((x, several)).notes
    assert not [note for note in load((x, several[:, :1])).notes if "nothing to learn" in note]

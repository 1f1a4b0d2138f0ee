"""Splits: scikit-learn's own, stratified, grouped, the user's."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split

from reuse.data.loading import load
from reuse.data.splitting import LISTED
from reuse.errors import DataError, UsageError
from reuse.listing import some_of


def arrays(num_rows: int = 60, num_classes: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(num_rows, 4)), "y": np.arange(num_rows) % num_classes}


def rows_of(data) -> dict[str, set[int]]:
    return {name: set(getattr(data, name).rows.tolist()) for name in ("train", "valid", "test")}


def test_equals_two_successive_train_test_splits():
    data = load("diabetes", test_fraction=0.25, valid_fraction=0.25, seed=42)
    rest, test = train_test_split(np.arange(442), test_size=0.25, random_state=42)
    train, valid = train_test_split(rest, test_size=0.25, random_state=42)
    assert rows_of(data) == {"train": set(train), "valid": set(valid), "test": set(test)}


def test_every_row_is_in_one_split_and_classes_keep_their_shares():
    data = load(arrays())
    rows = rows_of(data)
    assert sorted(n for part in rows.values() for n in part) == list(range(60))
    for split in (data.train, data.valid, data.test):
        counts = np.bincount(split.targets.numpy(), minlength=3)
        assert counts.max() - counts.min() <= 1


def test_seed_decides_the_rows():
    assert rows_of(load(arrays(), seed=1)) == rows_of(load(arrays(), seed=1))
    assert rows_of(load(arrays(), seed=1)) != rows_of(load(arrays(), seed=2))


def test_test_rows_of_some_classes_are_test_rows_of_all():
    whole, part = load("digits"), load("digits", classes="5,6")
    assert set(part.test.rows) <= set(whole.test.rows)
    assert set(part.train.rows) <= set(whole.train.rows)
    assert set(load("digits", target="none").test.rows) == set(whole.test.rows)


def test_groups_never_straddle():
    data = arrays() | {"patient": np.arange(60) // 5}
    loaded = load(data, group_by="patient")
    groups = [set(data["patient"][list(rows)].tolist()) for rows in rows_of(loaded).values()]
    assert all(groups)
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    with pytest.raises(DataError, match="there is no such array, only x, y"):
        load(arrays(), group_by="patient")


def test_few_labels_keep_groups_apart():
    data = arrays() | {"patient": np.arange(60) // 5}
    loaded = load(data, group_by="patient", labels=20)
    assert loaded.sizes["train"] + loaded.sizes["valid"] == 20
    groups = [set(data["patient"][list(rows)].tolist()) for rows in rows_of(loaded).values()]
    assert not groups[0] & groups[1] | groups[0] & groups[2]


def test_the_users_own_splits_stay():
    x, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 2
    data = load(
        {"x_train": x[:20], "y_train": y[:20], "x_val": x[20:24], "y_val": y[20:24], "x_test": x[24:], "y_test": y[24:]}
    )
    assert rows_of(data) == {"train": set(range(20)), "valid": set(range(20, 24)), "test": set(range(24, 30))}


def test_no_test_split_puts_every_row_into_training():
    data = load(arrays(), valid_fraction=0, test_fraction=0)
    assert data.sizes == {"train": 60, "valid": 0, "test": 0}
    assert data.test.inputs.resident().shape == (0, 4)
    assert data.test.inputs.digests().shape == (0, 16)


def test_the_only_row_of_a_class_stays_in_training_and_is_noted():
    data = load((np.random.default_rng(0).normal(size=(11, 2)), np.array([0] * 5 + [1] * 5 + [2])))
    assert 10 in data.train.rows
    assert any("class 2" in note for note in data.notes)


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_a_share_outside_0_to_1_is_refused(fraction):
    with pytest.raises(UsageError, match="test_fraction"):
        load(arrays(), test_fraction=fraction)


def test_what_cannot_be_learned_is_refused():
    x = np.zeros((6, 2))
    with pytest.raises(DataError, match="only the class 1"):
        load((x, np.ones(6, int)))
    with pytest.raises(DataError, match="too few"):
        load((x[:2], np.array([0.5, 1.5])), test_fraction=0.6)
    with pytest.raises(DataError, match="class b is missing from the training split"):
        load({"x_train": x, "y_train": list("aaaccc"), "x_test": x, "y_test": list("aabbcc")})
    with pytest.raises(DataError, match="classes b, c are missing from the training split"):
        load({"x_train": x, "y_train": list("aaaddd"), "x_test": x, "y_test": list("aabbcc")})
    with pytest.raises(DataError, match="1 group is too few"):
        load({"x": x, "y": [0, 1] * 3, "g": [1] * 6}, group_by="g")


def test_transductive_trains_on_test_inputs_and_never_on_targets():
    plain, data = load("digits"), load("digits", transductive=True)
    assert set(data.train.rows) == set(plain.train.rows) | set(plain.test.rows)
    assert data.task == "unlabelled"
    assert data.train.targets is data.valid.targets is data.test.targets is None
    with pytest.raises(UsageError, match="transductive"):
        load("digits", transductive=True, labels=50)


def test_two_rows_a_class_give_training_and_test_and_no_validation():
    data = load((np.zeros((6, 2)), np.array([0, 0, 1, 1, 2, 2])))
    assert data.sizes == {"train": 3, "valid": 0, "test": 3}
    assert sorted(data.train.targets.tolist()) == [0, 1, 2]
    assert any(note.startswith("valid: no row of class") for note in data.notes)


def test_a_data_set_survives_pickling():
    data = load("digits")
    assert torch.equal(pickle.loads(pickle.dumps(data)).test.inputs.resident(), data.test.inputs.resident())


def test_of_many_classes_a_few_are_named() -> None:
    assert some_of(["a", "b"], LISTED) == "a, b"
    assert some_of([f"c{number}" for number in range(3000)], LISTED) == "c0, c1, c2, c3, c4 and 2995 more"

"""Sequences in arrays: tokens stay whole numbers, steps are standardised by feature, rows are filled up and cut."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from reuse.data.inputs import JoinedInputs
from reuse.data.loading import load
from reuse.data.preprocessing import Preprocessing
from reuse.errors import DataError, UsageError

RNG = np.random.default_rng(0)
Y = np.arange(40) % 2


def tokens(width: int = 6) -> np.ndarray:
    drawn = RNG.integers(1, 9, (40, width))
    drawn[np.arange(width) >= RNG.integers(1, width + 1, 40)[:, None]] = 0
    drawn[0, 0] = 8
    return drawn


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int32])
def test_tokens_stay_whole_numbers(dtype: type) -> None:
    x = tokens().astype(dtype)
    data = load((x, Y), sequences=True)
    assert (data.num_tokens, data.input_shape) == (9, (6,))
    assert any("9 different tokens" in note for note in data.notes)
    for split in (data.train, data.valid, data.test):
        resident = split.inputs.resident()
        assert resident.dtype == torch.int64
        np.testing.assert_array_equal(resident, x[split.rows])
    joined = JoinedInputs([data.train.inputs, data.test.inputs])
    assert torch.equal(joined.gather(torch.arange(len(joined)))[0][: len(data.train)], data.train.inputs.resident())


def test_without_being_told_arrays_are_what_they_were() -> None:
    assert load((tokens(), Y)).preprocessing.kind == "vectors"
    assert load((RNG.normal(size=(40, 5, 4)), Y)).input_shape == (1, 5, 4)
    assert load((tokens(), Y)).num_tokens is None


def test_lazy_tokens_equal_resident_ones() -> None:
    inputs = load((tokens(), Y), vocabulary=20, sequence_length=4).train.inputs
    indices = torch.tensor([3, 0, 3])
    (lazy,) = inputs.gather(indices)
    assert torch.equal(lazy, inputs.resident()[indices])


def test_rows_are_filled_up_and_cut_and_the_cut_ones_are_counted() -> None:
    ragged = [[1, 2], [3], [], [4, 5, 6, 7], [1, 1, 1], *[[2]] * 35]
    data = load((ragged, Y), sequences=True, sequence_length=3, valid_fraction=0, test_fraction=0)
    assert data.train.inputs.resident()[:5].tolist() == [[1, 2, 0], [3, 0, 0], [0, 0, 0], [4, 5, 6], [1, 1, 1]]
    assert any("1 of 40 rows is longer than 3 tokens" in note for note in data.notes)
    wide = load((ragged, Y), sequences=True, sequence_length=9, valid_fraction=0, test_fraction=0)
    assert wide.train.inputs.resident()[3].tolist() == [4, 5, 6, 7, 0, 0, 0, 0, 0]
    assert not any("longer" in note for note in wide.notes)


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_a_file_says_what_its_tokens_are(kind: str, tmp_path: Path) -> None:
    words = ["", *(f"häuser{number}" for number in range(1, 12))]
    path, arrays = tmp_path / f"data.{kind}", {"x_train": tokens(6), "y_train": Y, "x_test": tokens(8), "y_test": Y}
    if kind == "npz":
        np.savez(path, vocabulary=np.array(words), **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
            file["vocabulary"] = words
    data = load(path)
    assert (data.num_tokens, data.input_shape) == (12, (8,))
    assert data.preprocessing.token_names == tuple(words)
    assert not any("left aside" in note for note in data.notes)
    assert not data.train.inputs.resident()[:, 6:].any()


def test_steps_are_standardised_by_feature_over_the_training_split() -> None:
    x = RNG.normal([3, -50], [1, 7], (40, 5, 2))
    data = load((x, Y), sequences=True)
    scaler = StandardScaler().fit(x[data.train.rows].reshape(-1, 2))
    expected = scaler.transform(x[data.test.rows].reshape(-1, 2)).reshape(-1, 5, 2)
    np.testing.assert_allclose(data.test.inputs.resident(), expected, atol=1e-6)
    assert data.input_shape == (5, 2)
    assert load((x[:, :, 0], Y), sequences=True).input_shape == (5, 1)
    assert load("digits", sequences=True).input_shape == (8, 8)


def test_new_data_is_prepared_as_the_old() -> None:
    x = tokens()
    fitted = load({"x": x, "y": Y, "vocabulary": 30}).preprocessing
    again = Preprocessing.from_dict(fitted.to_dict())
    assert again == fitted
    assert load((x[:, :4], Y), preprocessing=again).input_shape == (6,)
    steps = load((RNG.normal(size=(40, 5, 2)), Y), sequences=True).preprocessing
    assert load((RNG.integers(0, 9, (40, 7, 2)), Y), preprocessing=steps).input_shape == (7, 2)


def test_digests_tell_rows_by_their_content() -> None:
    x = tokens()
    x[1] = x[0]
    first, second = (load((x, Y), sequences=True, split_seed=seed, valid_fraction=0).train for seed in (0, 1))
    found = dict(zip(first.rows.tolist(), map(bytes, first.inputs.digests()), strict=True))
    others = dict(zip(second.rows.tolist(), map(bytes, second.inputs.digests()), strict=True))
    shared = found.keys() & others.keys()
    assert shared
    assert all(found[row] == others[row] for row in shared)
    assert len(set(found.values())) == len({tuple(x[row]) for row in found})


@pytest.mark.parametrize(
    ("x", "settings", "message"),
    [
        (-tokens(), {"sequences": True}, r"holds -\d in row 0"),
        (tokens() + 0.5, {"vocabulary": 9}, "holds float64 values"),
        (tokens() + 10**12, {"sequences": True}, "number what occurs from 1 on"),
        (tokens().astype(np.uint64) + np.uint64(2**63), {"sequences": True}, "number what occurs from 1 on"),
        (tokens(), {"vocabulary": 8}, "token 8 in row .*only 8"),
        (np.full((40, 5, 2), np.nan), {"sequences": True}, "row 0 .*step 0, feature 0"),
        ([[1.5], [2.5, 3]] * 20, {"sequences": True}, "float64"),
        ([["a"], ["b", "c"]] * 20, {"sequences": True}, "expected tokens"),
        (np.ones((40, 2, 2, 2, 2)), {"sequences": True}, "expected sequences"),
    ],
)
def test_what_is_no_sequence(x: object, settings: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load((x, Y), **settings)  # type: ignore[arg-type]


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(UsageError, match="says 30"):
        load({"x": tokens(), "y": Y, "vocabulary": 30}, vocabulary=20)
    with pytest.raises(UsageError, match="sequence_length=4 is for texts and tokens"):
        load("wine", sequence_length=4)
    with pytest.raises(UsageError, match="steps of numbers"):
        load((np.ones((40, 5, 2)), Y), sequences=True, sequence_length=4)
    with pytest.raises(UsageError, match="vocabulary is 0"):
        load((tokens(), Y), vocabulary=0)
    with pytest.raises(UsageError, match="image_size"):
        load((tokens(), Y), sequences=True, image_size=8)
    fitted = load((tokens(), Y), vocabulary=30).preprocessing
    with pytest.raises(UsageError, match="vocabulary=20 and a preprocessing made for 30"):
        load((tokens(), Y), vocabulary=20, preprocessing=fitted)
    with pytest.raises(DataError, match="made for sequences of tokens"):
        load("wine", preprocessing=fitted)

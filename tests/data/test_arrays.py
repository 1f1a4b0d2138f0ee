"""Arrays in memory, .npz, HDF5 and IDX: shapes, tasks, statistics, what is refused."""

import gzip
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from reuse.data.arrays import refuse_unusable
from reuse.data.loading import load
from reuse.data.raw import Options
from reuse.data.reading import read
from reuse.data.split_names import CELL_NAMES
from reuse.errors import DataError, UnknownNameError, UsageError

RNG = np.random.default_rng(0)


def vectors(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    return RNG.normal(5, 3, size=(n, 3)), np.arange(n) % 2


def test_vectors_are_standardised_by_the_training_split_alone():
    x, y = vectors()
    x[:, 2] = 7.0
    data = load((x, y))
    scaler = StandardScaler().fit(x[data.train.rows])
    for split in (data.train, data.valid, data.test):
        np.testing.assert_allclose(split.inputs.resident(), scaler.transform(x[split.rows]), atol=1e-6)
    assert data.preprocessing.std[2] == 1.0


def test_gather_equals_resident_bit_for_bit():
    for spec, settings in (("digits", {"image_size": 12, "channels": 3}), ("wine", {}), ("digits", {})):
        lazy, eager = (load(spec, **settings).train.inputs for _ in range(2))
        indices = torch.tensor([5, 0, 5, 90])
        (before,) = lazy.gather(indices)
        resident = eager.resident()
        assert before.dtype == torch.float32
        assert before.shape == (4, *lazy.shape)
        assert torch.equal(before, resident[indices])
        assert torch.equal(eager.gather(indices)[0], before)
        assert eager.resident() is resident


def test_what_would_fit_is_what_is_then_prepared(monkeypatch):
    free, inputs = [0], [load((np.ones((50, 3)), np.arange(50) % 2)).train.inputs for _ in range(2)]
    monkeypatch.setattr("reuse.data.inputs.free_memory", lambda device: free[0])
    assert not inputs[0].fits()
    assert inputs[0].resident() is None
    free[0] = 10**9
    assert not inputs[0].fits()  # the answer was given
    assert inputs[1].fits()
    assert inputs[1].resident() is not None
    free[0] = 0
    assert inputs[1].fits()


def test_resident_is_none_where_memory_is_short(monkeypatch):
    monkeypatch.setattr("reuse.data.inputs.free_memory", lambda device: 100)
    inputs = load("digits").train.inputs
    assert inputs.resident() is None
    assert inputs.gather(torch.tensor([1]))[0].shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 5, 4), (1, 5, 4)),
        ((6, 3, 5, 4), (3, 5, 4)),
        ((6, 5, 4, 3), (3, 5, 4)),
        ((6, 7, 5, 4), (4, 7, 5)),
        ((6, 8, 5, 9), (8, 5, 9)),
    ],
)
def test_images_have_channels_first(shape, expected):
    data = load({"x": np.ones(shape, np.uint8)}, valid_fraction=0, test_fraction=0)
    assert data.input_shape == expected
    assert data.task == "unlabelled"
    assert data.num_outputs == 0


def test_image_scales():
    y = np.arange(10) % 2
    bytes_ = RNG.integers(0, 256, (10, 4, 4), dtype=np.uint8)
    torch.testing.assert_close(
        load((bytes_, y)).test.inputs.resident()[:, 0],
        torch.from_numpy(bytes_[load((bytes_, y)).test.rows] / 255).float(),
    )
    unit = RNG.random((10, 4, 4))
    assert load((unit, y)).preprocessing.divisor == 1.0
    wide = load((unit * 4095, y))
    assert wide.train.inputs.resident().max() == 1.0
    assert any("divided by" in note for note in wide.notes)
    signed = load((unit - 0.5, y))
    assert signed.preprocessing.divisor == 1.0
    assert any("as they are" in note for note in signed.notes)


def test_digits_are_divided_by_16():
    from sklearn.datasets import load_digits

    data = load("digits")
    expected = torch.from_numpy(load_digits().images[data.test.rows] / 16).float()
    assert torch.equal(data.test.inputs.resident()[:, 0], expected)


def test_grey_and_colour():
    pixels = RNG.integers(0, 256, (10, 3, 4, 4), dtype=np.uint8)
    grey = load((pixels, np.arange(10) % 2), channels=1).train
    expected = (pixels[grey.rows] * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(axis=1) / 255
    np.testing.assert_allclose(grey.inputs.resident()[:, 0], expected, atol=1e-6)
    colour = load((pixels[:, 0], np.arange(10) % 2), channels=3).train.inputs.resident()
    assert torch.equal(colour[:, 0], colour[:, 2])


def test_resized_arrays_equal_torch_interpolation():
    data = load("digits", image_size=(16, 12))
    plain = load("digits").test.inputs.resident()
    expected = torch.nn.functional.interpolate(plain, (16, 12), mode="bilinear", antialias=True)
    torch.testing.assert_close(data.test.inputs.resident(), expected)


def test_tasks_are_inferred():
    x = RNG.normal(size=(40, 2))
    assert load((x, np.array(["b", "a"] * 20))).classes == ("a", "b")
    assert load((x, np.array([True, False] * 20))).classes == ("False", "True")
    assert load((x, np.array([3, 7] * 20, dtype=object))).classes == ("3", "7")
    assert load((x, RNG.normal(size=40))).task == "regression"
    assert load((x, RNG.normal(size=(40, 3)))).num_outputs == 3
    multilabel = load((x, RNG.integers(0, 2, (40, 3))))
    assert (multilabel.task, multilabel.num_outputs) == ("multilabel", 3)
    assert multilabel.train.targets.dtype == torch.float32
    assert load((np.zeros((300, 1)), np.arange(300))).task == "regression"


def test_regression_targets_are_kept():
    y = RNG.normal(size=30)
    data = load((RNG.normal(size=(30, 2)), y))
    np.testing.assert_allclose(data.train.targets[:, 0], y[data.train.rows], rtol=1e-6)


def test_npz_and_h5_hold_the_same(tmp_path):
    x, y = vectors()
    np.savez(tmp_path / "a.npz", x=x, y=y, extra=np.zeros(3))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = x, y
    np.savez(tmp_path / "parts.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
    npz, h5, parts = (load(str(tmp_path / name)) for name in ("a.npz", "a.h5", "parts.npz"))
    assert torch.equal(npz.train.inputs.resident(), h5.train.inputs.resident())
    assert torch.equal(npz.test.targets, h5.test.targets)
    assert parts.test.rows.tolist() == list(range(30, 40))
    assert "arrays left aside: extra" in npz.notes


def test_h5_strings_are_classes(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.zeros((10, 2)), ["cat", "dog"] * 5
    assert load(str(tmp_path / "a.h5")).classes == ("cat", "dog")


def write_idx(path, array, code=0x08):
    content = bytes([0, 0, code, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_idx_folder(tmp_path):
    images = RNG.integers(0, 256, (20, 5, 4), dtype=np.uint8)
    labels = (np.arange(20) % 2).astype(np.uint8)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images[:15])
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels[:15])
    write_idx(tmp_path / "t10k-images-idx3-ubyte", images[15:])
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", labels[15:])
    data = load(str(tmp_path))
    assert data.test.rows.tolist() == list(range(15, 20))
    assert torch.equal(data.test.inputs.resident()[:, 0], torch.from_numpy(images[15:]).float() / 255)
    assert data.test.targets.tolist() == labels[15:].tolist()


def test_idx_that_is_cut_short(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((3, 2, 2), np.uint8))
    whole = (tmp_path / "train-images-idx3-ubyte").read_bytes()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(whole[:-1])
    with pytest.raises(DataError, match="holds 27 bytes and announces 28"):
        load(str(tmp_path))


def test_idx_of_wide_integers_comes_in_native_order(tmp_path):
    from reuse.data.idx import read_idx

    write_idx(tmp_path / "a", np.array([1, 256, -3], ">i4"), code=0x0C)
    assert read_idx(tmp_path / "a").tolist() == [1, 256, -3]
    assert read_idx(tmp_path / "a").dtype.isnative


def test_finite_values_whose_sum_is_infinite_are_taken():
    x, y = vectors()
    x = x.astype(np.float32)
    x[:, 1] = np.finfo(np.float32).max
    x[0, 1], x[1, 2] = -x[0, 1], x[0, 1]
    refuse_unusable(x, "x")
    x[3, 2] = -np.inf
    with pytest.raises(DataError, match=r"x holds -inf in row 3 \(from 0\), column 2"):
        load((x, y))


def test_missing_and_infinite_values_name_row_and_column():
    x, y = vectors()
    x[7, 2] = np.nan
    with pytest.raises(DataError, match=r"x holds nan in row 7 \(from 0\), column 2"):
        load((x, y))
    pixels = np.zeros((9, 4, 4))
    pixels[8, 1, 2] = np.inf
    with pytest.raises(DataError, match="row 8"):
        load((pixels, np.arange(9) % 2))
    with pytest.raises(DataError, match="target 'y' is infinite in row 3"):
        load((np.zeros((5, 2)), np.array([1.0, 2, 3, np.inf, 5])))
    with pytest.raises(DataError, match=r"target 'y\[1\]' is missing beside others in row 1"):
        load((np.zeros((3, 2)), np.array([[1.0, 2], [3, np.nan], [5, 6]])))


def test_arrays_that_cannot_be_a_data_set(tmp_path):
    x, y = vectors()
    with pytest.raises(DataError, match="x has 40 rows and y has 39"):
        load((x, y[:-1]))
    with pytest.raises(DataError, match="expected x and y"):
        load({"inputs": x})
    with pytest.raises(DataError, match="x_test without y"):
        load({"x_train": x, "y_train": y, "x_test": x})
    with pytest.raises(DataError, match="expected numbers"):
        load((np.array([["a"]]), [0]))
    with pytest.raises(DataError, match="same length"):
        load(([[1, 2], [3]], [0, 1]))
    with pytest.raises(DataError, match="shape"):
        load((np.zeros(5), np.zeros(5)))
    with pytest.raises(UsageError, match="for images"):
        load((x, y), image_size=8)
    (tmp_path / "broken.npz").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match=r"broken\.npz"):
        load(str(tmp_path / "broken.npz"))
    (tmp_path / "broken.h5").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"broken\.h5"):
        load(str(tmp_path / "broken.h5"))


def test_an_unknown_spec_names_the_nearest_and_the_path():
    with pytest.raises(UnknownNameError, match=r"did you mean 'digits'.*no file or folder .*digit"):
        load("digit")
    with pytest.raises(DataError, match=r"there is no file or folder .*nowhere"):
        load("./nowhere")
    parts = [torch.utils.data.TensorDataset(torch.zeros(4, 2), torch.arange(4) % 2) for _ in range(2)]
    for several in (tuple(parts), dict(zip(("train", "test"), parts, strict=True))):
        with pytest.raises(UsageError, match=r"of Datasets as data: give one of them.*x_train"):
            load(several)
    with pytest.raises(UsageError, match="data of type set"):
        load({1, 2})


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_an_array_alone_has_no_targets(kind: Callable[[np.ndarray], Any]):
    x, _ = vectors()
    alone, paired = load(kind(x)), load((x, None))
    assert alone.task == paired.task == "unlabelled"
    assert np.array_equal(alone.train.inputs.digests(), paired.train.inputs.digests())


def test_digests_depend_on_content_type_and_shape_alone():
    x, y = vectors()
    data, shuffled = load((x, y)), load((x[::-1], y[::-1]))
    one = dict(zip(data.train.rows.tolist(), map(bytes, data.train.inputs.digests()), strict=True))
    other = dict(zip((39 - shuffled.train.rows).tolist(), map(bytes, shuffled.train.inputs.digests()), strict=True))
    shared = set(one) & set(other)
    assert shared
    assert all(one[row] == other[row] for row in shared)
    flat = np.zeros((4, 16), np.uint8)
    settings = {"valid_fraction": 0, "test_fraction": 0}
    kinds = [flat, flat.astype(np.int8), flat.reshape(4, 4, 4), flat.reshape(4, 2, 8)]
    assert len({bytes(load({"x": k}, **settings).train.inputs.digests()[0]) for k in kinds}) == 4


def test_one_pixel_changes_one_digest():
    x = RNG.integers(0, 256, (20, 4, 4), dtype=np.uint8)
    settings = {"valid_fraction": 0, "test_fraction": 0}
    before = load({"x": x}, **settings).train.inputs.digests()
    x[13, 2, 2] ^= 1
    after = load({"x": x}, **settings).train.inputs.digests()
    assert np.flatnonzero((before != after).any(axis=1)).tolist() == [13]


@pytest.mark.parametrize(("one", "other"), [("uint8", "float64"), ("int64", "float32"), ("uint8", "uint16")])
def test_splits_of_different_types_have_no_common_scale(one, other):
    y = np.arange(10) % 2
    for shape in ((10, 4, 4), (10, 4)):
        splits = {"x_train": np.ones(shape, one), "y_train": y, "x_test": np.ones(shape, other), "y_test": y}
        with pytest.raises(DataError, match=rf"different types \({one}, {other}\)"):
            load(splits)


def test_splits_of_one_kind_of_type_are_joined():
    y = np.arange(10) % 2
    data = load({"x_train": np.ones((10, 2), "float32"), "y_train": y, "x_test": np.ones((5, 2)), "y_test": y[:5]})
    assert data.sizes["test"] == 5


@pytest.mark.parametrize("names", [("x_val", "x_valid"), ("X_valid", "x_valid"), ("Y_val", "y_validation")])
def test_two_names_for_one_array(names, tmp_path):
    x, y = vectors()
    arrays = {"x_train": x, "y_train": y, "x_valid": x, "y_valid": y} | {n: x if n in "xX" else y for n in names}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=rf"holds both .*{names[0]}|holds both .*{names[1]}"):
        load(str(tmp_path / "a.npz"))


def test_names_that_say_nothing_may_differ_in_case():
    x, y = vectors()
    assert "arrays left aside: extra" in load({"x": x, "y": y, "Extra": x, "extra": x}).notes


@pytest.mark.parametrize(("arrays", "message"), [
    ({"x": np.ones((4, 2)), "y": 3}, "y is 3, a single value"),
    ({"x": 5, "y": [1, 2]}, "x is 5, a single value"),
    ({"x": 5}, "x is 5, a single value"),
    ({"x": np.ones((2, 2)), "y": np.float64(1.5)}, "y is .*1.5.*, a single value"),
    ({"x": np.ones((2, 2)), "y": [[1, 0], [1]]}, "y is not one array"),
])  # fmt: skip
def test_a_single_value_is_no_array(arrays, message):
    with pytest.raises(DataError, match=message):
        load(arrays)


def test_one_class_as_a_number():
    assert len(read("digits", Options()).rows) == 1797
    with pytest.raises(DataError, match="only the class 5"):
        load("digits", classes=5)
    with pytest.raises(UsageError, match="class '12'"):
        load("digits", classes=12)


def test_arrays_for_a_model_of_other_data():
    digits, wine = load("digits").preprocessing, load("wine").preprocessing
    with pytest.raises(DataError, match=r"wine holds feature vectors, and the model was made for images: choose"):
        load("wine", preprocessing=digits)
    with pytest.raises(DataError, match=r"digits holds images, and the model was made for feature vectors: choose"):
        load("digits", preprocessing=wine)
    with pytest.raises(
        DataError, match=r"made for images: give arrays \(rows, \[channels,\] height, width\), or choose"
    ):
        load(vectors(), preprocessing=digits)


def test_targets_that_are_not_wanted_are_not_looked_at():
    x, _ = vectors()
    assert read((x, np.full(40, np.nan)), Options(without_targets=True)).targets is None


def test_names_of_classes_in_bytes(tmp_path):
    x, names = RNG.normal(size=(30, 2)), np.array(["très bon", "mauvais", "so so"])
    coded = np.array([name.encode() for name in names])[np.arange(30) % 3]
    np.savez(tmp_path / "a.npz", x=x, y=coded)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = x, coded
    for name in ("a.npz", "a.h5"):
        assert load(str(tmp_path / name)).classes == ("mauvais", "so so", "très bon")
    with pytest.raises(DataError, match=r"a class is called b'\\xff', which is no text in UTF-8"):
        load((x, np.array([b"\xff", b"a"] * 15)))


def test_groups_of_an_hdf5_file_are_splits(tmp_path):
    x, y = RNG.normal(size=(30, 2)), np.arange(30) % 2
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for part, rows in (("train", slice(0, 20)), ("Validation", slice(20, 24)), ("test", slice(24, 30))):
            file[f"{part}/x"], file[f"{part}/y"] = x[rows], y[rows]
        file["about/when"] = 1
    data = load(str(tmp_path / "a.h5"))
    assert data.sizes == {"train": 20, "valid": 4, "test": 6}
    assert "arrays left aside: about/when" in data.notes
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["some/x"] = x
    with pytest.raises(DataError, match="holds arrays some/x: expected x and y"):
        load(str(tmp_path / "b.h5"))


@pytest.mark.parametrize(("part", "split"), CELL_NAMES.items())
@pytest.mark.parametrize("kind", ["memory", "npz", "h5", "groups", "several"])
def test_names_of_splits_mean_the_same_in_arrays_files_and_groups(part, split, kind, tmp_path):
    counts = {"train": 20, "valid": 4, "test": 6}
    named = {name: name for name in counts} | {split: part.upper() if kind == "groups" else part}
    between, file = ("/", tmp_path / "a.h5") if kind == "groups" else ("_", tmp_path / f"a.{kind}")
    order = (lambda role, name: (name, role)) if kind == "groups" else (lambda role, name: (role, name))
    arrays = {}
    for name, count in counts.items():
        x = RNG.normal(size=(count, 2))
        arrays[between.join(order("x", named[name]))] = {"a": x, "b": x} if kind == "several" else x
        arrays[between.join(order("y", named[name]))] = np.arange(count) % 2
    if kind == "npz":
        np.savez(file, **arrays)
    elif kind in ("h5", "groups"):
        with h5py.File(file, "w") as opened:
            for name, values in arrays.items():
                opened[name] = values
    data = load(arrays if kind in ("memory", "several") else str(file))
    assert data.sizes == counts


@pytest.mark.parametrize(("shape", "low", "high", "kind"), [
    ((12, 3), 0, 1, "sequences"),
    ((2, 40), -1, 1, "sequences"),
    ((12, 12), -3, 800, "sequences"),
    ((12, 12), -3, 3, "images"),
    ((12, 12), 0, 800, "images"),
])  # fmt: skip
def test_numbers_that_no_picture_has_are_sequences(shape, low, high, kind):
    x = np.linspace(low, high, 30 * shape[0] * shape[1]).reshape(30, *shape)
    data = load((x, np.arange(30) % 2))
    assert data.preprocessing.kind == kind
    assert any("no picture has" in note for note in data.notes) == (kind == "sequences")


def test_masked_values_are_not_taken_for_what_stands_below_the_mask():
    x, y = vectors()
    hidden = np.ma.masked_array(x, mask=np.arange(x.size).reshape(x.shape) == 3)
    target = np.ma.masked_array(y, mask=np.arange(len(y)) == 3)
    for data, name in [(hidden, "x"), ((hidden, y), "x"), ((x, target), "y"), ({"x": x, "y": target}, "y")]:
        with pytest.raises(DataError, match=f"{name}.* has masked values"):
            load(data)
    assert load(np.ma.masked_array(x)).input_shape == x.shape[1:]

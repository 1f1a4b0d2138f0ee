"""Roles of columns: target, task, what is ignored, how rows are grouped and split; rows without a label."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from reuse.data.loading import load
from reuse.errors import DataError, UsageError

RNG = np.random.default_rng(6)
N = 120


def write(path: Path, **columns: Any) -> str:
    features = {"a": RNG.normal(size=N).round(3), "b": RNG.normal(size=N).round(3)}
    pd.DataFrame(features | columns).to_csv(path, index=False)
    return str(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


def some(values: Any, count: int = 30) -> np.ndarray:
    """The first values as texts, the others missing."""
    texts = np.array([str(value) for value in values], object)
    texts[count:] = ""
    return texts


CLASSES = np.where(np.arange(N) % 2, "yes", "no")


@pytest.mark.parametrize(("labels", "task", "classes"), [
    (some(CLASSES), "classification", ("no", "yes")),
    (some(np.arange(N) % 3), "classification", ("0", "1", "2")),
    (some(np.linspace(0, 1, N)), "regression", ()),
])  # fmt: skip
def test_rows_without_a_label_are_left_aside_and_said(path: Path, labels: Any, task: str, classes: Any) -> None:
    data = load(write(path, label=labels))
    assert (data.task, data.classes) == (task, classes)
    assert sum(data.sizes.values()) == 30
    assert f"{N - 30} of {N} rows have no label: they are left aside" in data.notes
    assert max(np.concatenate([data.train.rows, data.valid.rows, data.test.rows])) < 30


@pytest.mark.parametrize("labels", [some(CLASSES), some(np.linspace(0, 1, N)), some(["?"] * N)])
def test_without_supervision_all_rows_are_kept(path: Path, labels: Any) -> None:
    data = load(write(path, label=labels), supervised=False)
    assert (data.task, sum(data.sizes.values())) == ("unlabelled", N)
    assert [column.name for column in data.preprocessing.columns] == ["a", "b"]


@pytest.mark.parametrize("labels", [some(CLASSES), CLASSES, some(np.linspace(0, 1, N))])
def test_rows_that_are_tested_were_not_pretrained_on(path: Path, labels: Any) -> None:
    table = write(path, label=labels)
    pretrained = load(table, target="label", supervised=False)
    tuned = load(table, target="label", preprocessing=pretrained.preprocessing)
    assert not np.intersect1d(pretrained.train.rows, tuned.test.rows).size
    assert np.isin(tuned.test.rows, pretrained.test.rows).all()
    assert len(tuned.test.rows) > 0


def test_arrays_of_which_some_have_labels(tmp_path: Path) -> None:
    x, y = RNG.normal(size=(N, 3)), np.where(np.arange(N) < 30, np.arange(N) % 2, np.nan)
    names = np.array(["p", "q", None], object)[np.where(np.isnan(y), 2, y).astype(int)]
    for targets, classes in ((y, ("0", "1")), (names, ("p", "q"))):
        data = load((x, targets))
        assert (data.classes, sum(data.sizes.values())) == (classes, 30)
        assert load((x, targets), supervised=False).sizes["train"] == 76
    assert load((x, y), target="none").task == "unlabelled"


def test_nothing_is_guessed_without_supervision(path: Path) -> None:
    table = write(path, c=["web"] * N, d=[f"k{number}" for number in range(N)])
    data = load(table, supervised=False)
    assert data.task == "unlabelled"
    assert [column.name for column in data.preprocessing.columns] == ["a", "b", "c"]
    assert load(write(path), supervised=False).input_shape == (2,)


@pytest.mark.parametrize("name", ["label", "Target", "CLASS", "y"])
def test_a_column_that_is_called_as_a_target_is_no_feature(path: Path, name: str) -> None:
    table = write(path, **{name: CLASSES})
    for how in ({"target": "none"}, {"supervised": False}, {"supervised": False, "target": "none"}):
        data = load(table, **how)
        assert [column.name for column in data.preprocessing.columns] == ["a", "b"]
        assert any(repr(name) in note and "no feature" in note for note in data.notes)


@pytest.mark.parametrize("cells", [
    [f"{1_000_000 + number:,}" for number in range(N)],
    [f"{number / 8:.3f}".replace(".", ",") for number in range(N)],
    [f"{number / 8:.2f} EUR" for number in range(N)],
    ["unknown", *(f"{number / 8}" for number in range(1, N))],
    ["-", *(f"{number}" for number in range(1, N))],
    ["1,5", "2,5", "3,5"] * 40,
])  # fmt: skip
def test_a_target_of_numbers_that_cannot_be_read_is_refused(path: Path, cells: list[str]) -> None:
    table = write(path, price=cells)
    with pytest.raises(DataError, match=rf"target 'price' holds '{cells[0]}' in row 0 \(from 0\), and .* look like"):
        load(table, target="price")
    assert load(table, target="price", supervised=False).input_shape == (2,)
    with pytest.raises(DataError, match=rf"target 'price' holds '{cells[0]}' in row 0 \(from 0\): expected a number"):
        load(table, target="price", task="regression")


def test_names_of_single_rows_are_no_classes(path: Path) -> None:
    table = write(path, name=[f"customer {number}" for number in range(N)])
    with pytest.raises(DataError, match=f"target 'name' holds {N} different values in {N} rows, too many for classes"):
        load(table)


@pytest.mark.parametrize("stars", [["3 stars", "4 stars"], ["1", "2", "K1"], ["01", "02"], ["1", "unknown"]])
def test_few_spellings_are_classes(path: Path, stars: list[str]) -> None:
    assert load(write(path, label=np.resize(stars, N))).classes == tuple(stars)


def test_the_task_is_chosen(path: Path) -> None:
    years = np.arange(N) % 10 * 2 + 2001
    table = write(path, year=years, flag=np.arange(N) % 2)
    assert load(table, target="year").task == "classification"
    numbers = load(table, target="year", task="regression")
    assert numbers.train.targets is not None
    np.testing.assert_array_equal(numbers.train.targets[:, 0], years[numbers.train.rows])
    labels = load(table, target="flag", task="multilabel")
    assert (labels.task, labels.classes, labels.num_outputs) == ("multilabel", ("flag",), 1)
    x = RNG.normal(size=(N, 2))
    assert load((x, years), task="regression").task == "regression"
    with pytest.raises(UsageError, match="unknown task 'ranking'"):
        load(table, target="year", task="ranking")
    with pytest.raises(DataError, match="a label is 2001 in row 0"):
        load(table, target="year", task="multilabel")
    with pytest.raises(DataError, match="name one"):
        load(table, target="year,flag", task="classification")
    classes = load(write(path, number=np.arange(N) % 12 / 2), target="number", task="classification")
    assert classes.classes[:4] == ("0.0", "0.5", "1.0", "1.5")
    whole = load(write(path, number=np.arange(N) % 12 * 1.0), target="number", task="classification")
    assert whole.classes == tuple(map(str, range(12)))


def test_columns_are_ignored(path: Path) -> None:
    table = write(path, key=np.arange(N), note=["x"] * N, label=CLASSES)
    for ignore in ("key,note", ["key", "note"], ("key, note",)):
        assert load(table, ignore=ignore).input_shape == (2,)
    with pytest.raises(UsageError, match=r"ignore='kee': there is no such column; did you mean 'key'\?"):
        load(table, ignore="kee")
    with pytest.raises(UsageError, match="target='label' is ignored"):
        load(table, ignore="label", target="label")
    with pytest.raises(UsageError, match="names a column"):
        load("iris", ignore="key")


def test_the_users_own_splits_by_a_column(path: Path) -> None:
    parts = np.resize(["Training", "train", "val", "TEST"], N)
    data = load(write(path, part=parts, label=CLASSES), split_column="part")
    assert data.sizes == {"train": 60, "valid": 30, "test": 30}
    np.testing.assert_array_equal(data.test.rows, np.arange(3, N, 4))
    assert data.input_shape == (2,)
    meant = load(write(path, part=np.resize(["fit", "fit", "dev", "Eval"], N), label=CLASSES), split_column="part")
    assert (meant.sizes, list(meant.test.rows)) == (data.sizes, list(data.test.rows))  # as folders of these names
    with pytest.raises(DataError, match=r"split_column='part' says 'fold 3' in row 7 \(from 0\): expected train"):
        load(write(path, part=[*parts[:7], "fold 3", *parts[8:]], label=CLASSES), split_column="part")
    with pytest.raises(DataError, match="gives no row to train on"):
        load(write(path, part=["test"] * N, label=CLASSES), split_column="part")


def test_test_rows_from_another_file(path: Path, tmp_path: Path) -> None:
    codes = np.resize(["01", "K1"], N)
    table = write(path, code=codes, label=CLASSES)
    other = write(tmp_path / "other.csv", label=CLASSES[::-1], code=["01"] * N)
    data = load(table, test_data=other)
    assert data.sizes == {"train": 96, "valid": 24, "test": N}
    frame = pd.read_csv(other)
    place = [column.name for column in data.preprocessing.columns].index("a")
    expected = (frame["a"] - data.preprocessing.mean[place]) / data.preprocessing.std[place]
    inputs = data.test.inputs.resident()
    assert inputs is not None
    np.testing.assert_allclose(inputs[:, place], expected, rtol=1e-5)
    assert (inputs[:, 2:] == torch.tensor([1.0, 0.0])).all()  # the codes are texts, though this file has but one
    assert [data.classes[number] for number in data.test.targets] == CLASSES[::-1].tolist()  # type: ignore[union-attr]
    assert data.test.rows.tolist() == list(range(N, 2 * N))
    strange = write(tmp_path / "strange.csv", label=["maybe"] * N, code=codes)
    with pytest.raises(DataError, match=r"strange\.csv holds classes that the run does not know: maybe"):
        load(table, test_data=strange)


def test_rows_that_stand_in_training_and_test_alike_are_said(path: Path) -> None:
    table = pd.read_csv(write(path, label=CLASSES))
    pd.concat([table, table]).to_csv(path, index=False)
    (note,) = [note for note in load(str(path)).notes if "stand in the training split too" in note]
    count, _, total, *_ = note.split()
    data = load(str(path))
    expected = np.isin(data.test.rows % N, data.train.rows % N).sum()
    assert (int(count), int(total)) == (expected, len(data.test))
    assert not any("too, with the same" in note for note in load(write(path, label=CLASSES)).notes)


def test_what_a_model_leaves_over_is_said(path: Path) -> None:
    fitted = load(write(path, label=CLASSES)).preprocessing
    notes = load(write(path, extra=1, label=CLASSES), target="label", preprocessing=fitted).notes
    assert "columns left aside, as the model was made without them: 'extra'" in notes
    assert "2 features: 'a', 'b'" in notes

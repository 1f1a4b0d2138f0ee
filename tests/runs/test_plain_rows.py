"""Rows as programs have them at hand mean what a data frame or an array of them means."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from reuse.errors import DataError, UsageError
from reuse.pretraining.pretrain import pretrain
from reuse.runs.models import SavedModel, load_model

FRAME = pd.DataFrame({"size": np.arange(40) % 7 + 0.5, "kind": list("abcd") * 10, "price": np.arange(40.0) % 5})
ROWS = FRAME[["size", "kind"]].head(3)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    """A model of a table of two columns."""
    run = tmp_path_factory.mktemp("table") / "run"
    pretrain("supervised", data=FRAME, target="price", task="regression", model="mlp:4", epochs=1, out=run)
    return load_model(run)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[SavedModel, list[Path]]:
    """A model of colour images, and files of three sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 12, 3), dtype=np.uint8)
    pretrain("supervised", data=(pixels, np.arange(12) % 2), model="convnet:2", epochs=1, out=folder / "run")
    files = [folder / f"{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        Image.fromarray(pixels[number, : 12 - number]).save(file)
    return load_model(folder / "run"), files


@pytest.mark.parametrize(
    "form",
    [
        lambda rows: rows.to_dict("records"),
        lambda rows: tuple(rows.to_dict("records")),
        lambda rows: rows.to_dict("list"),
        lambda rows: {name: column.to_numpy() for name, column in rows.items()},
        lambda rows: dict(rows.items()),
        lambda rows: list(rows.itertuples()),
        lambda rows: [row for _, row in rows.iterrows()],
        lambda rows: rows.to_records(index=False),
        lambda rows: list(rows.to_records(index=False)),
        lambda rows: pl.from_pandas(rows).rows(named=True),
    ],
)
def test_rows_of_a_table(form: Callable[[pd.DataFrame], Any], table: SavedModel) -> None:
    assert table.predict(form(ROWS)).tolist() == table.predict(ROWS).tolist()


@pytest.mark.parametrize(
    "form",
    [
        lambda row: row,
        lambda row: row.to_dict(),
        lambda row: row[["kind", "size"]],
        lambda row: next(row.to_frame().T.itertuples(index=False)),
        lambda row: np.array([tuple(row)], dtype=[("size", float), ("kind", "U1")])[0],
        lambda row: pd.DataFrame([row]).to_records(index=False)[0],
    ],
)
def test_one_row_of_a_table(form: Callable[[pd.Series], Any], table: SavedModel) -> None:
    assert table.predict(form(ROWS.iloc[1])).tolist() == table.predict(ROWS.iloc[1:2]).tolist()


@pytest.mark.parametrize("column", [ROWS["size"], pl.from_pandas(ROWS)["size"]])
def test_a_column_of_a_table_is_no_rows_of_it(column: Any, table: SavedModel) -> None:
    with pytest.raises(UsageError, match="a Series called 'size', and the model takes rows of the 2 columns"):
        table.predict(column)


def test_records_that_lack_a_column_name_it(table: SavedModel) -> None:
    with pytest.raises(DataError, match="'kind'"):
        table.predict([{"size": 1.0}])


@pytest.mark.parametrize(
    "form", [{"kind": ["a", "b"]}, {"kind": "a", "price": 3}, pd.Series({"kind": "a", "price": 3})]
)
def test_columns_without_the_first_one_name_it(form: Any, table: SavedModel) -> None:
    with pytest.raises(DataError, match="'size'"):
        table.predict(form)


def test_one_value_beside_columns_is_for_all_rows(table: SavedModel) -> None:
    wanted = table.predict(pd.DataFrame({"size": [1.0, 2.0], "kind": ["a", "a"]}))
    assert table.predict({"size": [1.0, 2.0], "kind": "a"}).tolist() == wanted.tolist()


def test_a_list_beside_the_columns_of_the_model_makes_no_rows(table: SavedModel) -> None:
    wanted = table.predict(pd.DataFrame({"size": [1.0], "kind": ["a"]}))
    assert table.predict({"size": 1.0, "kind": "a", "sizes": [1.0, 2.0]}).tolist() == wanted.tolist()


@pytest.mark.parametrize("form", [list, np.array, pd.Series])
def test_columns_of_several_lengths_are_named(form: Callable[[list[Any]], Any], table: SavedModel) -> None:
    with pytest.raises(DataError, match="columns of several lengths, 'size' of 2, 'kind' of 1: give each"):
        table.predict({"size": form([1.0, 2.0]), "kind": form(["a"])})


def test_a_column_of_two_dimensions_is_named(table: SavedModel) -> None:
    with pytest.raises(DataError, match=r"column 'size' is of shape \(2, 1\): give it one value a row"):
        table.predict({"size": np.ones((2, 1)), "kind": ["a", "b"]})


def test_the_only_column_of_texts(tmp_path: Path) -> None:
    frame = pd.DataFrame({"words": ["good film", "bad film"] * 15, "stars": [1, 0] * 15})
    pretrain("supervised", data=frame, text="words", target="stars", model="lstm:3", epochs=1, out=tmp_path / "run")
    model, wanted = load_model(tmp_path / "run"), frame[["words"]].head(2)
    labelled = wanted["words"].set_axis(["words", "other"])  # a label as the column is called makes no row of it
    twice = pd.Series(wanted["words"].to_list(), index=["words", "words"])
    for form in (wanted["words"], pl.from_pandas(wanted)["words"], wanted.to_dict("records"), labelled, twice):
        assert model.predict_proba(form).tolist() == model.predict_proba(wanted).tolist()


@pytest.mark.parametrize("form", [tuple, pd.Series, pl.Series, np.array])
def test_columns_and_tuples_of_pictures_files(form: Callable[[list[str]], Any], pictures: Any) -> None:
    model, files = pictures
    names = [str(file) for file in files]
    assert model.predict_proba(form(names)).tolist() == model.predict_proba(names).tolist()


def test_arrays_of_several_sizes_are_pictures(pictures: Any) -> None:
    model, files = pictures
    arrays = [np.asarray(Image.open(file)) for file in files]
    assert model.predict_proba(arrays).tolist() == model.predict_proba(files).tolist()


def _of_numbers(x: np.ndarray, run: Path) -> SavedModel:
    pretrain("supervised", data=(x, np.arange(len(x)) % 3), model="mlp:4", epochs=1, out=run)
    return load_model(run)


def test_a_row_of_numbers(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(30, 4))
    model, frame = _of_numbers(x, tmp_path / "run"), pd.DataFrame(x, columns=list("abcd"))
    for form in (pd.Series(x[0]), pl.Series(x[0]), frame.iloc[0], frame.set_axis([f"r{i}" for i in range(30)]).iloc[0]):
        assert model.predict_proba(form).tolist() == model.predict_proba(x[:1]).tolist()
    for column in (frame["a"].head(4), frame["a"].iloc[[7, 3, 9, 1]], pl.from_pandas(frame)["a"].head(4), frame["a"]):
        with pytest.raises(UsageError, match=r"called 'a' of \d+ values, and the model takes rows of 4 numbers"):
            model.predict(column)


def test_a_column_is_the_rows_of_a_model_of_one_number(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(30, 1))
    model = _of_numbers(x, tmp_path / "run")
    for form in (pd.Series(x[:4, 0]), pd.Series(x[:4, 0], name="a"), pl.Series("a", x[:4, 0])):
        assert model.predict_proba(form).tolist() == model.predict_proba(x[:4]).tolist()


def test_a_picture_that_is_not_there_is_no_unknown_data_set(pictures: Any) -> None:
    with pytest.raises(DataError, match=r"there is no file or folder .*holiday\.jpg"):
        pictures[0].predict("holiday.jpg")


def test_bytes_are_no_rows(pictures: Any) -> None:
    with pytest.raises(UsageError, match="data of type bytes: give a name or path"):
        pictures[0].predict(b"abc")

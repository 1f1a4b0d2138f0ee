"""Tables: columns, targets, missing values, categories."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from reuse.data.column_types import typed
from reuse.data.loading import load
from reuse.data.preprocessing import Column, Preprocessing
from reuse.data.raw import Options
from reuse.data.reading import read
from reuse.data.tables import TableSamples
from reuse.errors import DataError, UsageError

RNG = np.random.default_rng(1)


def frame(n: int = 60) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "size": RNG.normal(3, 2, n).round(3),
            "colour": RNG.choice(["red", "green", "blue"], n),
            "count": RNG.integers(0, 9, n),
            "who": np.arange(n) // 4,
            "label": np.where(np.arange(n) % 2, "yes", "no"),
        }
    )
    table.loc[[3, 17], "size"] = np.nan
    table.loc[5, "colour"] = None
    return table


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "table.csv"
    frame().to_csv(path, index=False)
    return path


def test_equals_a_scikit_learn_pipeline(csv):
    table = pd.read_csv(csv)
    data = load(str(csv), group_by="who")
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    text = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="(missing)", missing_values=np.nan),
        OneHotEncoder(sparse_output=False, handle_unknown="ignore"),
    )
    reference = ColumnTransformer([("a", numeric, ["size"]), ("b", text, ["colour"]), ("c", numeric, ["count"])])
    reference.fit(table.iloc[data.train.rows])
    for split in (data.train, data.test):
        expected = reference.transform(table.iloc[split.rows])
        np.testing.assert_allclose(split.inputs.resident(), expected, atol=1e-5)
    assert data.classes == ("no", "yes")
    assert data.preprocessing.columns[0].name == "size"


def test_missing_values_are_noted_with_counts(csv):
    notes = "\n".join(load(str(csv), valid_fraction=0, test_fraction=0).notes)
    assert "column 'size': 2 missing values" in notes
    assert "column 'colour': 1 missing value, a category of its own" in notes


def test_parquet_equals_csv(csv, tmp_path):
    pd.read_csv(csv).to_parquet(tmp_path / "table.parquet")
    one, other = load(str(csv)), load(str(tmp_path / "table.parquet"))
    assert torch.equal(one.train.inputs.resident(), other.train.inputs.resident())
    assert (one.train.inputs.digests() == other.train.inputs.digests()).all()
    assert torch.equal(one.train.targets, other.train.targets)


def test_more_rows_leave_old_digests(tmp_path):
    table = frame()
    table.to_csv(tmp_path / "old.csv", index=False)
    pd.concat([table, table.assign(colour="violet", size=np.nan)]).to_csv(tmp_path / "new.csv", index=False)
    every = {"valid_fraction": 0, "test_fraction": 0}
    old, new = (load(str(tmp_path / f"{n}.csv"), **every).train.inputs.digests() for n in ("old", "new"))
    assert (old == new[:60]).all()
    assert len(np.unique(new, axis=0)) == len(table.drop(columns="label").drop_duplicates()) + len(
        table.assign(colour="violet", size=np.nan).drop(columns="label").drop_duplicates()
    )


def test_a_given_preprocessing_is_used_as_it_is(csv, tmp_path):
    fitted = load(str(csv))
    table = pd.read_csv(csv)[["label", "who", "count", "colour", "size"]].iloc[:20]
    table.loc[0, "colour"] = "violet"
    table.to_csv(tmp_path / "part.csv", index=False)
    part = load(str(tmp_path / "part.csv"), preprocessing=fitted.preprocessing, valid_fraction=0, test_fraction=0)
    assert part.preprocessing is fitted.preprocessing
    wide = load(str(csv), preprocessing=fitted.preprocessing, valid_fraction=0, test_fraction=0)
    assert torch.equal(part.train.inputs.resident()[1:], wide.train.inputs.resident()[1:20])
    place = 1 + fitted.preprocessing.columns[1].width
    assert part.train.inputs.resident()[0, 1:place].tolist() == [0.0] * (place - 1)
    assert any("'violet'" in note for note in part.notes)


def test_prediction_without_a_target_column(csv, tmp_path):
    fitted = load(str(csv))
    pd.read_csv(csv).drop(columns="label").to_csv(tmp_path / "new.csv", index=False)
    data = load(str(tmp_path / "new.csv"), preprocessing=fitted.preprocessing, valid_fraction=0, test_fraction=0)
    assert data.task == "unlabelled"
    assert data.sizes["train"] == 60
    pd.read_csv(csv).drop(columns="size").to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(DataError, match="column 'size', which the preprocessing expects, is not in the table"):
        load(str(tmp_path / "less.csv"), preprocessing=fitted.preprocessing)


def test_targets_are_chosen(tmp_path):
    n = 40
    table = pd.DataFrame(
        {"a": RNG.normal(size=n), "b": RNG.integers(0, 2, n), "c": RNG.integers(0, 2, n), "d": RNG.normal(size=n)}
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    path = str(tmp_path / "t.csv")
    last = load(path)
    assert last.task == "regression"
    assert any("last column, 'd'" in note for note in last.notes)
    both = load(path, target="b,c")
    assert (both.task, both.classes, both.input_shape) == ("multilabel", ("b", "c"), (2,))
    assert load(path, target="a, d").num_outputs == 2
    assert load(path, target="b").task == "classification"
    assert load(path, target="none").input_shape == (4,)
    with pytest.raises(UsageError, match="there is no such column"):
        load(path, target="e")
    with pytest.raises(UsageError, match="there is no such column"):
        load(path, group_by="e")


def write(path, text):
    path.write_text(text)
    return str(path)


def test_tables_that_cannot_be_read(tmp_path):
    path = tmp_path / "t.csv"
    with pytest.raises(DataError, match=r"row 1 \(from 0\) has 1 cell, "):
        load(write(path, "a,label\n1,x\n2\n"))
    with pytest.raises(DataError, match="two columns called 'a'"):
        load(write(path, "a,a\n1,2\n"))
    with pytest.raises(DataError, match="begins with numbers"):
        load(write(path, "1,2\n3,4\n"))
    with pytest.raises(DataError, match="is empty"):
        load(write(path, ""))
    with pytest.raises(DataError, match="no rows"):
        load(write(path, "a,label\n"))
    with pytest.raises(DataError, match="target 'label' has no value in any row"):
        load(write(path, "a,label\n1,\n2,\n3,\n"))
    with pytest.raises(DataError, match="target 'label' is infinite in row 2"):
        load(write(path, "a,label\n1,1.5\n2,2\n3,inf\n"))
    with pytest.raises(DataError, match="column 'a' is infinite in row 1"):
        load(write(path, "a,label\n1,x\ninf,y\n" + "3,x\n4,y\n" * 9))
    with pytest.raises(DataError, match="column 'a' has no value"):
        load(write(path, "a,label\n" + ",x\n,y\n" * 9))
    with pytest.raises(DataError, match="group_by='who' has no value in row 1"):
        load(write(path, "a,who,label\n1,u,x\n2,,y\n"), group_by="who")
    path.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(DataError, match="UTF-8"):
        load(str(path))


def test_a_string_where_the_preprocessing_expects_a_number(csv, tmp_path):
    fitted = load(str(csv)).preprocessing
    table = pd.read_csv(csv).astype({"count": object})
    table.loc[4, "count"] = "many"
    table.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(DataError, match="column 'count' holds 'many' in row 4"):
        load(str(tmp_path / "bad.csv"), preprocessing=fitted, valid_fraction=0, test_fraction=0)


def test_semicolons_and_a_byte_order_mark(tmp_path):
    text = "a;label\n" + "1.5;x\n2.5;y\n" * 10
    (tmp_path / "t.csv").write_text(text, encoding="utf-8-sig")
    data = load(str(tmp_path / "t.csv"))
    assert data.preprocessing.columns[0].name == "a"
    assert data.preprocessing.columns[0].is_numeric
    assert data.classes == ("x", "y")


def test_a_missing_text_that_training_rows_do_not_lack_is_no_category_of_its_own(tmp_path):
    lines = [f"{'ab'[i % 2]},{'xy'[i % 3 > 0]}\n" for i in range(40)]
    row = load(write(tmp_path / "t.csv", "a,label\n" + "".join(lines))).test.rows[0]
    lines[row] = "," + lines[row].split(",")[1]
    notes = load(write(tmp_path / "t.csv", "a,label\n" + "".join(lines))).notes
    assert "test: column 'a': 1 row with a category that was not fitted ('(missing)'): all zeros" in notes
    assert not any("of their own" in note for note in notes)


def test_columns_of_text_are_noted(csv):
    data = load(str(csv))
    colours = pd.read_csv(csv)["colour"][data.train.rows].fillna("(missing)").nunique()
    assert f"column 'colour': text, {colours} categories" in data.notes


@pytest.mark.parametrize(("cells", "row", "text", "numbers"), [
    (["1", "2", "-", "4"], 2, "-", 3),
    (["1,5", "2,5", "3", "4"], 0, "1,5", 4),
    (["", "low", "7", "high", "8"], 1, "low", 2),
])  # fmt: skip
def test_numbers_that_cannot_be_read_are_no_categories(tmp_path, cells, row, text, numbers):
    lines = "".join(f"{cell};{'xy'[i % 2]}\n" for i, cell in enumerate(cells * 6))
    num_texts = 6 * sum(cell != "" for cell in cells)
    message = rf"column 'a' holds '{text}' in row {row} \(from 0\), and {6 * numbers} of its {num_texts} values"
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / "t.csv", "a;label\n" + lines))


def test_mostly_text_is_text(tmp_path):
    path = write(tmp_path / "t.csv", "a,label\n" + "12b,x\n7,y\nold,x\n" * 8)
    assert "column 'a': text, 3 categories" in load(path).notes


def test_numbers_that_are_categories_on_purpose_stay_categories(tmp_path):
    table = pd.DataFrame({"a": pd.Categorical(["1", "2"] * 10), "label": ["x", "y"] * 10})
    table.to_parquet(tmp_path / "t.parquet")
    assert "column 'a': text, 2 categories" in load(str(tmp_path / "t.parquet")).notes


def test_targets_and_groups_may_mix_numbers_and_text(tmp_path):
    path = write(
        tmp_path / "t.csv", "a,who,label\n" + "".join(f"{i},{i // 2}{'ab'[i > 30]},{i % 3}+\n" for i in range(40))
    )
    assert load(path, group_by="who").classes == ("0+", "1+", "2+")


def test_the_census_columns_of_housing(tmp_path):
    rows = "".join(f"{-122 - i / 100},{i},{i * 7.5},{'NEAR BAY' if i % 3 else 'INLAND'}\n" for i in range(40))
    path = write(tmp_path / "housing.csv", "longitude,age,value,ocean_proximity\n" + rows)
    assert "column 'ocean_proximity': text, 2 categories" in load(path, target="value").notes


def test_a_column_that_is_called_none(tmp_path):
    path = write(tmp_path / "t.csv", "a,none,label\n" + "1,u,x\n2,v,y\n" * 10)
    assert load(path, target="none").classes == ("u", "v")
    whole = read(path, Options(without_targets=True))
    assert (whole.targets, whole.task, list(whole.samples.columns)) == (None, "unlabelled", ["a", "none", "label"])
    assert read(path, Options(target="label", without_targets=True)).targets is None
    plain = write(tmp_path / "plain.csv", "a,label\n" + "1,x\n2,y\n" * 10)
    assert load(plain, target="none").task == "unlabelled"
    assert read(plain, Options(target="none")).targets is None


def test_missing_values_are_noted_for_a_saved_preprocessing(csv, tmp_path):
    fitted = load(str(csv)).preprocessing
    table = pd.read_csv(csv).drop(columns="label")
    table.loc[[0, 1, 2], "count"] = np.nan
    table.to_csv(tmp_path / "new.csv", index=False)
    every = {"valid_fraction": 0, "test_fraction": 0}
    fill = {column.name: column.fill for column in fitted.columns}
    read_notes = read(str(tmp_path / "new.csv"), Options(preprocessing=fitted, without_targets=True)).notes
    for notes in (read_notes, load(str(tmp_path / "new.csv"), preprocessing=fitted, **every).notes):
        assert f"column 'count': 3 missing values, {fill['count']:g} (training median) put in" in notes
        assert f"column 'size': 2 missing values, {fill['size']:g} (training median) put in" in notes


def test_a_table_for_a_model_of_images_and_back(csv):
    images, table = load("digits").preprocessing, load(str(csv)).preprocessing
    message = r"table\.csv is a table, and the model was made for images: choose a source trained on such a table, or"
    with pytest.raises(DataError, match=message):
        load(str(csv), preprocessing=images)
    with pytest.raises(DataError, match="digits holds images, and the model was made for tables"):
        load("digits", preprocessing=table)


def mixed_columns(rows: int = 5000) -> dict[str, pd.Series]:
    draw = np.random.default_rng(2)
    table = pd.DataFrame(draw.normal(size=(rows, 20)) * 1e6, columns=[f"n{place}" for place in range(20)])
    table.loc[::7, "n3"] = np.nan
    table["town"] = pd.Series(draw.choice(["a", "b", "c"], rows)).where(draw.random(rows) < 0.9, None)
    table["who"] = [f"c{number}" for number in range(rows)]
    return {name: typed(name, values.copy()) for name, values in table.items()}


def test_splits_that_give_up_a_table_hold_what_each_alone_holds():
    parts = {"train": np.arange(0, 5000, 2), "valid": np.arange(1, 5000, 4), "test": np.array([7, 3])}
    whole, given = TableSamples(mixed_columns(), "t"), TableSamples(mixed_columns(), "t")
    preprocessing, _ = whole.fit(parts["train"][:50], Options())
    splits = given.splits(parts, preprocessing)
    for name, rows in parts.items():
        (inputs, notes), (alone, alone_notes) = splits[name], whole.inputs(rows, preprocessing)
        assert torch.equal(inputs.resident(), alone.resident())
        assert np.array_equal(inputs.digests(), alone.digests())
        assert notes == alone_notes
    assert not given.columns
    assert len(whole.columns) == 22


def test_a_table_and_its_inputs_never_stand_in_memory_together():
    rows = np.arange(50_000)
    draw = np.random.default_rng(0)
    fitted = tuple(Column(f"n{place}", 0.0) for place in range(20))
    preprocessing = Preprocessing("table", mean=(0.0,) * 20, std=(1.0,) * 20, columns=fitted)
    tracemalloc.start()
    columns = {f"n{place}": pd.Series(draw.normal(size=len(rows))) for place in range(20)}
    TableSamples(columns, "t").splits({"train": rows[:30_000], "test": rows[30_000:]}, preprocessing)
    _, largest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert largest < 1.3 * 20 * rows.nbytes


def test_a_frame_that_is_loaded_stays_as_it_was():
    given = frame()
    before = given.copy()
    load(given, target="label")
    pd.testing.assert_frame_equal(given, before)

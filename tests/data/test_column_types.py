"""Types of columns: what a column holds, decided once, the same from a file and from a frame."""

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from reuse.data.column_types import NUMBER, TEXT, TIME, as_text_column, kind_of, numbers_of, typed
from reuse.data.csv_files import CsvFile
from reuse.data.loading import load
from reuse.data.targets import encode_targets
from reuse.errors import DataError

NAN = np.nan
DAY = datetime.date(2024, 1, 2)


@pytest.mark.parametrize(("values", "expected"), [
    ([Decimal("1.50"), None, Decimal("-2")], [1.5, NAN, -2]),
    (pd.array([1, None, 3], dtype="Int64"), [1, NAN, 3]),
    (pd.array([1, 2, 3], dtype="UInt8"), [1, 2, 3]),
    (pd.array([1.5, None, 3], dtype="Float64"), [1.5, NAN, 3]),
    (np.array([1, 2, 3], np.float16), [1, 2, 3]),
    ([1, 2.5, None], [1, 2.5, NAN]),
    (["1", " 2.5 ", "n/a"], [1, 2.5, NAN]),
    (["99999999999999999999999", "1", "2"], [1e23, 1, 2]),
    (pd.to_timedelta([1, 2, None], unit="h"), [3600, 7200, NAN]),
    ([None, None, None], [NAN, NAN, NAN]),
])  # fmt: skip
def test_numbers(values: Any, expected: list[float]) -> None:
    column = typed("a", pd.Series(values))
    assert kind_of(column) == NUMBER
    np.testing.assert_allclose(numbers_of("a", column, np.arange(3)), expected)


@pytest.mark.parametrize(("values", "expected"), [
    (["x", None, " y "], ["x", None, "y"]),
    (["01", "2", "?"], ["01", "2", None]),
    (pd.Categorical([1, 2, None]), ["1", "2", None]),
    (pd.Categorical(["b", "a", "b"]), ["b", "a", "b"]),
    ([True, False, True], ["True", "False", "True"]),
    (pd.array([True, None, False], dtype="boolean"), ["True", None, "False"]),
    (["true", "FALSE", "True"], ["True", "False", "True"]),
    ([1, "x", None], ["1", "x", None]),
    ([b"na\xc3\xafve", b"x", None], ["naïve", "x", None]),
])  # fmt: skip
def test_texts(values: Any, expected: list[str | None]) -> None:
    column = typed("a", pd.Series(values))
    assert kind_of(column) == TEXT
    assert [None if text is None or text != text else text for text in column] == expected


@pytest.mark.parametrize("values", [
    [DAY, None],
    pd.to_datetime(["2024-01-02", None]),
    pd.to_datetime(["2024-01-02T00:00:00Z", None]),
    pd.to_datetime(["2024-01-02", None]).as_unit("s"),
    ["2024-01-02", ""],
    ["2024-01-02 00:00:00", None],
    ["2024-01-02T01:00:00+01:00", None],
])  # fmt: skip
def test_times(values: Any) -> None:
    column = typed("a", pd.Series(values))
    assert kind_of(column) == TIME
    days = (DAY - datetime.date(1970, 1, 1)).days
    np.testing.assert_allclose(numbers_of("a", column, np.arange(2)), [days, NAN])


def test_a_kind_that_was_decided_before_is_kept() -> None:
    assert typed("a", pd.Series([1, 2]), TEXT).tolist() == ["1", "2"]
    assert typed("a", pd.Series([1.0, 2.5]), TEXT).tolist() == ["1", "2.5"]
    assert typed("a", pd.Series(["1", "2"]), NUMBER).tolist() == [1, 2]
    assert kind_of(typed("a", pd.Series([None, None]), TIME)) == TIME
    with pytest.raises(DataError, match=r"column 'a' holds 'many' in row 1 \(from 0\): expected a number"):
        typed("a", pd.Series(["1", "many"]), NUMBER)
    with pytest.raises(DataError, match=r"column 'a' holds 'soon' in row 0 \(from 0\): expected a time"):
        typed("a", pd.Series(["soon", "2024-01-01"]), TIME)


@pytest.mark.parametrize(("values", "message"), [
    ([{"x": 1}, {"x": 2}], "column 'a' holds values of type dict"),
    ([1 + 2j, 2], "complex numbers"),
    ([b"\xff\xfe", b"x"], "bytes that are no text"),
])  # fmt: skip
def test_what_no_table_holds_is_refused(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        typed("a", pd.Series(values))


def test_values_that_float32_cannot_hold_are_named() -> None:
    values = pd.Series([0.0] * 5 + [1e300])
    with pytest.raises(DataError, match=r"column 'a' holds 1e\+300 in row 5 \(from 0\), which float32 cannot hold"):
        numbers_of("a", values, np.arange(2, 6))


def test_a_file_and_a_frame_are_typed_alike(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "whole": [1, 2, 3],
        "half": [0.5, NAN, 2],
        "text": ["x", None, "y"],
        "truth": [True, False, True],
        "time": pd.to_datetime(["2024-01-01 00:00", "2024-06-01 12:30", None]),
        "digits": ["1", "2", "3"],
    })  # fmt: skip
    frame.to_csv(tmp_path / "t.csv", index=False)
    written = CsvFile.open(tmp_path / "t.csv").read()
    for name in frame:
        one, other = typed(name, frame[name]), typed(name, written[name])
        assert kind_of(one) == kind_of(other), name
        assert [v if v == v else None for v in one] == [v if v == v else None for v in other], name


def test_whole_numbers_that_float64_cannot_tell_apart_stay_apart() -> None:
    """Such as the identifiers of a network of people, which may be targets or groups."""
    column = typed("a", pd.Series([2**60 + 1, 2**60 + 3], dtype=object))
    assert column.tolist() == [2**60 + 1, 2**60 + 3]


def test_dates_of_arrow_are_times() -> None:
    column = typed("a", pd.Series([DAY, None], dtype=pd.ArrowDtype(pa.date32())))
    assert kind_of(column) == TIME
    assert column[0] == pd.Timestamp(DAY)
    assert column.isna().tolist() == [False, True]


def test_bytes_that_can_change_are_texts_too() -> None:
    assert typed("a", pd.Series([bytearray(b"x"), b"y"])).tolist() == ["x", "y"]


LARGE = [2**53 + number for number in range(30)]
FRAMES = {
    "nullable": pd.array([*LARGE, pd.NA], dtype="Int64"),
    "objects": pd.Series([*LARGE, None], dtype=object),
    "texts": [*map(str, LARGE), None],
}


@pytest.mark.parametrize("kind", [*FRAMES, "csv"])
def test_large_whole_numbers_beside_gaps_stay_apart(kind: str, tmp_path: Path) -> None:
    frame: Any = pd.DataFrame({"x": np.arange(31.0), "who": FRAMES.get(kind, FRAMES["nullable"])})
    if kind == "csv":
        frame.to_csv(tmp_path / "large.csv", index=False)
        frame = str(tmp_path / "large.csv")
    every: dict[str, Any] = {"valid_fraction": 0, "test_fraction": 0}
    named = load(frame, target="who", task="classification", **every)
    assert named.classes == tuple(map(str, LARGE))
    assert load(frame, target="x", **every).preprocessing.columns[0].is_numeric
    notes = "\n".join(load(frame, target="x", **every).notes)
    assert "column 'who' holds whole numbers beyond 2^53, of which neighbours are one as inputs" in notes


HUGE = [2**63 + number for number in range(30)]
HUGE_FRAMES = {
    "unsigned": np.array([*HUGE, HUGE[0]], np.uint64),
    "nullable": pd.array([*HUGE, pd.NA], dtype="UInt64"),
    "objects": pd.Series([*HUGE, None], dtype=object),
    "beside small ones": pd.Series([*HUGE, 5], dtype=object),
    "texts": [*map(str, HUGE), None],
}


@pytest.mark.parametrize("kind", HUGE_FRAMES)
@pytest.mark.parametrize("source", ["frame", "csv", "parquet"])
def test_whole_numbers_beyond_int64_stay_apart(kind: str, source: str, tmp_path: Path) -> None:
    frame: Any = pd.DataFrame({"x": np.arange(31.0), "who": HUGE_FRAMES[kind]})
    if source == "csv":
        frame.to_csv(tmp_path / "huge.csv", index=False)
    elif source == "parquet":
        # Which has no type for Python's numbers of such a size.
        frame.astype({"who": "UInt64"} if frame["who"].dtype == object else {}).to_parquet(tmp_path / "huge.parquet")
    frame = frame if source == "frame" else str(tmp_path / f"huge.{source}")
    every: dict[str, Any] = {"valid_fraction": 0, "test_fraction": 0}
    expected = [*map(str, HUGE)] if kind != "beside small ones" else ["5", *map(str, HUGE)]
    assert sorted(load(frame, target="who", task="classification", **every).classes) == sorted(expected)
    notes = "\n".join(load(frame, target="x", **every).notes)
    assert "column 'who' holds whole numbers beyond 2^53, of which neighbours are one as inputs" in notes


def test_groups_and_classes_beyond_int64_stay_apart() -> None:
    frame = pd.DataFrame({"x": np.arange(60.0), "who": np.repeat(np.array(HUGE, np.uint64), 2), "y": [0, 1] * 30})
    data = load(frame, target="y", group_by="who", valid_fraction=0, test_fraction=0.5)
    assert data.sizes == {"train": 30, "valid": 0, "test": 30}
    few = pd.DataFrame({"x": np.arange(60.0), "who": np.array(HUGE[:3] * 20, np.uint64)})
    assert load(few, target="who").classes == tuple(map(str, HUGE[:3]))


def test_blocks_of_rows_of_which_one_is_beyond_int64_keep_their_digits(tmp_path: Path) -> None:
    numbers = [*range(2**53, 2**53 + 20_000), *HUGE]  # pandas reads them in blocks, and joins these as floats
    pd.DataFrame({"who": np.array(numbers, np.uint64)}).to_csv(tmp_path / "huge.csv", index=False)
    assert typed("who", CsvFile.open(tmp_path / "huge.csv").read()["who"]).tolist() == numbers


def test_large_whole_numbers_that_stay_apart_as_inputs_are_not_spoken_of() -> None:
    spread = pd.DataFrame({"when": [2**53 + 4096 * number for number in range(30)], "y": np.arange(30.0)})
    assert not any("2^53" in note for note in load(spread, target="y").notes)


RANGES: dict[str, list[int | None]] = {
    "the last of uint64": [2**64 - 1, 2**64 - 2, 5],
    "the first of int64": [-(2**63), 1 - 2**63, None],
    "below int64": [-(2**63) - 1, -(2**63) - 2, 7],
    "signed beside unsigned": [-1, 2**63, 2**63 + 1, None],
    "beyond uint64": [2**64, 2**64 + 1, None, 3],
    "identifiers of 128 bits": [2**127 + number for number in range(4)],
    "beyond float64": [10**400, 10**400 + 1, 1],
    "floats": [2**64, 2**70, 3],
}


@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("source", ["frame", "decimals", "csv"])
def test_whole_numbers_of_any_size_stay_apart(kind: str, source: str, tmp_path: Path) -> None:
    values = RANGES[kind]
    frame = pd.DataFrame({"who": pd.Series(values, dtype=object), "x": range(len(values))})
    if source == "decimals":  # as databases give whole numbers of such a size
        frame["who"] = frame["who"].map(lambda value: None if value is None else Decimal(value))
    if source == "csv":
        frame.to_csv(tmp_path / "t.csv", index=False)
        frame = CsvFile.open(tmp_path / "t.csv").read()
    texts = as_text_column(typed("who", frame["who"])).tolist()
    assert texts == [None if value is None else str(value) for value in values]


@pytest.mark.parametrize("first", [-1, 2**64])
@pytest.mark.parametrize("source", ["frame", "csv"])
def test_whole_numbers_beyond_64_bits_are_classes_groups_and_inputs(first: int, source: str, tmp_path: Path) -> None:
    names = [first, *(2**63 + number for number in range(3))]
    frame: Any = pd.DataFrame({"x": np.arange(120.0), "who": pd.Series(names * 30, dtype=object), "y": [0, 1] * 60})
    frame["key"] = pd.Series([first, *(2**65 + number for number in range(119))], dtype=object)
    if source == "csv":
        frame.to_csv(tmp_path / "t.csv", index=False)
        frame = str(tmp_path / "t.csv")
    assert sorted(load(frame, target="who", ignore="key").classes) == sorted(map(str, names))
    grouped = load(frame, target="y", group_by="key", valid_fraction=0, test_fraction=0.5)
    assert grouped.sizes == {"train": 60, "valid": 0, "test": 60}
    notes = load(frame, target="y").notes
    assert all(f"column {name!r} holds whole numbers beyond 2^53" in "\n".join(notes) for name in ("who", "key"))
    assert load(frame, target="key", task="regression").task == load(frame, target="key").task == "regression"


def test_classes_of_an_array_of_objects_stay_apart() -> None:
    names = np.array([-1, 2**63, 2**63 + 1] * 4, object)
    assert sorted(encode_targets(names).classes) == sorted(map(str, names[:3]))


def test_names_that_differ_in_case_alone_are_kept_apart_and_said() -> None:
    frame = pd.DataFrame({"town": ["Bern", "bern", "BASEL", "Chur"] * 10, "y": ["Yes", "no", "yes", "no"] * 10})
    data = load(frame, target="y")
    assert data.preprocessing.columns[0].categories == ("BASEL", "Bern", "Chur", "bern")
    assert data.classes == ("Yes", "no", "yes")
    for names in ("column 'town': 'Bern' and 'bern'", "target 'y': 'Yes' and 'yes'"):
        assert f"{names} differ in letter case alone, and are kept apart" in data.notes

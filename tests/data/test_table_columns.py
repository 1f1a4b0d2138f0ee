"""Feature columns of a table: what is left aside, grouped, or said."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reuse.data.column_types import typed
from reuse.data.loading import load
from reuse.data.raw import Options
from reuse.data.table_columns import fit_columns, unread_number
from reuse.data.tables import TableSamples
from reuse.errors import DataError

RNG = np.random.default_rng(5)
N = 60


def fitted(rows: np.ndarray | None = None, **columns: Any) -> tuple[list[str], tuple[str, ...]]:
    table = {name: typed(name, pd.Series(values)) for name, values in columns.items()}
    found, notes = fit_columns(table, np.arange(N) if rows is None else rows, "t.csv")
    return [one.column.name for one in found], notes


@pytest.mark.parametrize("texts", [
    [f"c{number:04d}" for number in range(N)],
    [f"c{number:04d}" for number in range(N - 1)] + [None],
])  # fmt: skip
def test_an_identifier_is_left_aside(texts: list[str]) -> None:
    names, notes = fitted(a=np.linspace(0, 1, N), key=texts)
    assert names == ["a"]
    assert any("column 'key' is left aside: " in note and "an identifier or free text" in note for note in notes)
    with pytest.raises(DataError, match=r"t\.csv: no feature columns are left; column 'key' is left aside"):
        fitted(key=texts)


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_an_index_without_a_name_is_left_aside(name: str) -> None:
    names, notes = fitted(**{name: RNG.permutation(N), "a": np.linspace(0, 1, N)})
    assert names == ["a"]
    assert f"column {name!r} is left aside: it has no name and numbers the rows" in notes


def test_what_tells_nothing_or_counts_rows_is_said() -> None:
    names, notes = fitted(one=[3] * N, same=["x"] * N, number=np.arange(N), a=RNG.normal(size=N))
    assert names == ["one", "same", "number", "a"]
    assert "column 'one' is 3 in every training row: it tells nothing" in notes
    assert "column 'same': text, 1 category: it tells nothing" in notes
    assert "column 'number' numbers the rows: is it a feature? ignore='number' leaves it out" in notes


def test_a_constant_with_gaps_is_said() -> None:
    notes = fitted(one=[None, *[3.0] * (N - 1)], a=RNG.normal(size=N))[1]
    assert "column 'one' is 3.0 in every training row that has a value: it tells nothing" in notes


@pytest.mark.parametrize("name", ["id", "customerId", "PassengerId", "order no", "row_number", "Index", "KEY"])
def test_identifiers_of_whole_numbers_are_said(name: str) -> None:
    numbers = RNG.choice(10**6, N, replace=False)
    own = f"column {name!r} holds a number of its own in each row: is it a feature? ignore={name!r} leaves it out"
    assert own in fitted(**{name: numbers, "a": RNG.normal(size=N)})[1]
    assert (
        "column 'any' numbers the rows: is it a feature? ignore='any' leaves it out"
        in fitted(any=RNG.permutation(N) + 500, a=RNG.normal(size=N))[1]
    )


@pytest.mark.parametrize("name", ["grid", "paid", "piano", "monkey", "valid", "weight", "code"])
def test_whole_numbers_of_other_names_are_no_identifiers(name: str) -> None:
    notes = fitted(**{name: RNG.choice(10**6, N, replace=False)}, a=RNG.normal(size=N))[1]
    assert not [note for note in notes if "is it a feature" in note]


def test_times_are_said() -> None:
    days = pd.date_range("2024-01-01", periods=N)
    assert "column 'when': times, read as days since 1970" in fitted(when=days)[1]


def test_rare_categories_share_an_input() -> None:
    """As scikit-learn's encoder has it: the most frequent ones, and one more for the rest, unseen ones among them."""
    often = [f"city{number:02d}" for number in range(99)] * 5
    rare = [f"village{number:03d}" for number in range(40)] * 2
    towns = pd.Series([*often, *rare])
    table = TableSamples({"town": typed("town", towns)}, "t.csv")
    rows = np.arange(len(towns))
    preprocessing, notes = table.fit(rows, Options())
    assert "column 'town': text, 139 categories: the 99 most frequent have inputs of their own, the others" in notes[0]
    inputs, _ = table.inputs(rows, preprocessing)
    encoded = inputs.resident()
    assert encoded is not None
    assert encoded.shape == (len(towns), 100)
    assert (encoded.sum(1) == 1).all()
    assert (encoded[len(often) :, 99] == 1).all()
    unseen, notes = TableSamples({"town": pd.Series(["elsewhere"])}).inputs(np.array([0]), preprocessing)
    assert unseen.resident()[0].tolist() == [0.0] * 99 + [1.0]  # type: ignore[index]
    assert notes == ()


@pytest.mark.parametrize(("cells", "is_unread"), [
    (["1,234", "5,678", "12"], True),
    (["1,234,567", "1,234,568", "x"], True),
    (["10,5", "11,25", "9,75"], True),
    (["$5", "$7.50", "-$3"], True),
    (["5 %", "7%", "8%"], True),
    (["1.5", "-", "2.5"], True),
    (["01", "02", "03"], False),
    (["12b", "13a", "14c"], False),
    (["low", "7", "high"], False),
])  # fmt: skip
def test_numbers_that_are_written_otherwise(cells: list[str], is_unread: bool) -> None:
    assert (unread_number(pd.Series(cells)) is not None) == is_unread


def test_units_count_where_they_are_looked_for() -> None:
    prices = pd.Series(["10.25 EUR", "9.50 EUR", "8 EUR"])
    assert unread_number(prices) is None
    assert unread_number(prices, with_units=True) == (0, "10.25 EUR", 3, 3)


def test_a_number_beyond_float32_is_refused_by_name(tmp_path: Any) -> None:
    table = pd.DataFrame({"a": RNG.normal(size=40), "label": ["x", "y"] * 20})
    table.loc[3, "a"] = 1e300
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"column 'a' holds 1e\+300 in row 3"):
        load(str(tmp_path / "t.csv"))


def test_many_numbers_are_fitted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = RNG.normal(3, 2, (N, 7))
    columns = {f"c{place}": pd.Series(values[:, place]) for place in range(7)}
    whole = fit_columns(columns, np.arange(N), "t.csv")
    monkeypatch.setattr("reuse.data.table_columns.BLOCK_VALUES", 2 * N)
    assert fit_columns(columns, np.arange(N), "t.csv") == whole


def test_dates_of_another_form_are_called_so(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=30).strftime("%d.%m.%Y")
    pd.DataFrame({"day": days, "a": range(30), "y": ["u", "v"] * 15}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"'01.01.2024' in row 0 .* which looks like a date: write dates as 2024-01-31"):
        load(str(tmp_path / "t.csv"))

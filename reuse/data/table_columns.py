"""Feature columns of a table, fitted by scikit-learn on the training rows, and what a user should know of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reuse.data.column_types import CODE, NUMBER, TEXT, TIME, kind_of, numbers_of
from reuse.data.freed_memory import give_back
from reuse.data.large_numbers import fall_together
from reuse.data.preprocessing import Column
from reuse.data.table_libraries import pd
from reuse.errors import DataError
from reuse.listing import differ_in_case
from reuse.units import format_count, verb_of

MISSING = "(missing)"
MOST_CATEGORIES = 100
DIFFERENT_SHARE, FEW_ROWS = 0.9, 20
BLOCK_VALUES = 1 << 17
SAMPLED_TEXTS, HASHED_ROWS = 1000, 1 << 13
SHAPED = re.compile(r"[-+]?[$€£¥]?\s?[-+]?(\d[\d.,' ]*|[.,]\d+)([eE][-+]?\d+)?\s?[$€£¥%]?")
UNIT = r"[^\W\d_]{0,4}[²³]?(/[^\W\d_]{1,3})?"
SHAPED_WITH_UNIT = re.compile(SHAPED.pattern + UNIT)
DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-](\d{2}|\d{4})")
IDENTIFYING = re.compile(r"(^|[\W_])(?i:id|uid|index|key|number|nr|no)$|[a-z](Id|ID|Index|Key|Number|Nr|No)$")
UNNAMED = ("", "Unnamed: 0")  # what pandas' index is called in a file, and what pandas calls it there


@dataclass(frozen=True)
class FittedColumn:
    """One feature column as it was fitted: what becomes of its values, and one mean and deviation for each input."""

    column: Column
    mean: tuple[float, ...]
    std: tuple[float, ...]


def fit_columns(
    columns: Mapping[str, pd.Series], rows: np.ndarray, table: str
) -> tuple[list[FittedColumn], tuple[str, ...]]:
    """Return the feature columns of a table fitted on `rows`, in order, and notes on them.

    Left aside, and said, are an index without a name and identifiers: texts that differ in (nearly) every row.

    Args:
        columns: typed, `(n,)` each.
        rows: of the training split.
        table: what the user called it.

    Raises:
        DataError: a column has no value in `rows`, looks like numbers and holds other texts too, or none is left.
    """
    give_back()
    for name, values in columns.items():
        if kind_of(values) == TEXT:
            _refuse_unread_numbers(name, values)
            give_back()
    reasons = {name: _left_aside(name, values, rows) for name, values in columns.items()}
    kept = {name: values for name, values in columns.items() if reasons[name] is None}
    notes = [f"column {name!r} is left aside: {reason}" for name, reason in reasons.items() if reason]
    if not kept:
        raise DataError(f"{table}: no feature columns are left; {'; '.join(notes)}")
    numbers = [name for name, values in kept.items() if kind_of(values) != TEXT]
    fitted = {one.column.name: one for some in _blocks(numbers, len(rows)) for one in _fit_numbers(kept, some, rows)}
    fitted |= {name: _fit_texts(name, values, rows) for name, values in kept.items() if name not in fitted}
    notes += [note for name, values in kept.items() for note in _notes(fitted[name], values, rows)]
    return [fitted[name] for name in kept], tuple(notes)


def _left_aside(name: str, values: pd.Series, rows: np.ndarray) -> str | None:
    """Return why a column is no feature, None where it is one."""
    if name in UNNAMED and kind_of(values) == NUMBER and (values.isna().all() or values.is_unique):
        return "it has no name and numbers the rows" if values.notna().any() else "it has neither name nor values"
    if kind_of(values) != TEXT:
        return None
    different, held = _count_texts(values, rows)
    every = different == held >= FEW_ROWS
    if every or (different > MOST_CATEGORIES and different >= DIFFERENT_SHARE * held):
        return (
            f"{different} different texts in {held} rows, an identifier or free text (text={name!r} reads it as words)"
        )
    return None


def _count_texts(values: pd.Series, rows: np.ndarray) -> tuple[int, int]:
    """Return how many different texts there are in `rows`, and how many texts; by hashes, as a copy might be large."""
    hashes = np.empty(len(values), np.uint64)
    for start in range(0, len(values), HASHED_ROWS):  # slices, as arrow copies a whole column to take rows from it
        block = values.iloc[start : start + HASHED_ROWS].to_numpy(object)
        hashes[start : start + len(block)] = pd.util.hash_array(block, categorize=False)
    give_back()
    found = hashes[rows[values.notna().to_numpy()[rows]]]
    return len(np.unique(found)), len(found)


def _blocks(names: Sequence[str], num_rows: int) -> Iterator[list[str]]:
    """Yield the columns of numbers, so many at once that no second copy of a table is made."""
    size = max(1, BLOCK_VALUES // max(1, num_rows))
    for start in range(0, len(names), size):
        yield list(names[start : start + size])


def _fit_numbers(columns: Mapping[str, pd.Series], names: list[str], rows: np.ndarray) -> Iterator[FittedColumn]:
    matrix = np.column_stack([numbers_of(name, columns[name], rows) for name in names])
    empty = np.flatnonzero(np.isnan(matrix).all(0))
    if len(empty):
        raise DataError(f"column {names[empty[0]]!r} has no value in the training split: remove the column")
    from sklearn.impute import SimpleImputer  # scikit-learn takes a second to import, and not every command needs it
    from sklearn.preprocessing import StandardScaler

    imputer = SimpleImputer(strategy="median", copy=False)
    scaler = StandardScaler(copy=False).fit(imputer.fit_transform(matrix))
    fitted = zip(names, imputer.statistics_.tolist(), scaler.mean_.tolist(), scaler.scale_.tolist(), strict=True)
    for name, fill, mean, std in fitted:
        yield FittedColumn(Column(name, fill, is_time=kind_of(columns[name]) == TIME), (mean,), (std,))


def _fit_texts(name: str, values: pd.Series, rows: np.ndarray) -> FittedColumn:
    texts = values.iloc[rows].fillna(MISSING).to_numpy(object)[:, None]
    from sklearn.preprocessing import (
        OneHotEncoder,  # scikit-learn takes a second to import, and not every command needs it
    )

    encoder = OneHotEncoder(max_categories=MOST_CATEGORIES, handle_unknown="infrequent_if_exist").fit(texts)
    rare = encoder.infrequent_categories_[0]
    often = encoder.categories_[0]
    if rare is not None:
        often = often[~np.isin(often, rare)]
    column = Column(name, categories=tuple(often.tolist()), others=rare is not None)
    return FittedColumn(column, (0.0,) * column.width, (1.0,) * column.width)


def _refuse_unread_numbers(name: str, values: pd.Series) -> None:
    """Raise where a column looks like numbers that were not all read as such: it would become categories."""
    found = unread_number(values)
    if found is not None:
        row, text, count, total = found
        if DATE.fullmatch(text):
            raise DataError(
                f"column {name!r} holds {text!r} in row {row} (from 0), which looks like a date: write dates as "
                "2024-01-31, put a letter before categories, or leave the column out with ignore"
            )
        raise DataError(
            f"column {name!r} holds {text!r} in row {row} (from 0), and {count} of its {format_count(total, 'value')} "
            f"{verb_of(count, 'looks', 'look')} "
            "like numbers: write missing values as empty and decimals with a point; put a letter before categories"
        )


def unread_number(values: pd.Series, *, with_units: bool = False) -> tuple[int, str, int, int] | None:
    """Return where texts are no numbers though at least half of them look like some.

    Codes such as `007` look like none. Separators of thousands, decimal commas, signs of currency and per cent do.

    Args:
        values: a typed column of texts.
        with_units: whether a short word behind a number counts as its unit.

    Returns:
        The first row that is no number, what it holds, how many look like numbers, and how many there are.
    """
    shape = SHAPED_WITH_UNIT if with_units else SHAPED

    def looks(text: str) -> bool:
        return shape.fullmatch(text) is not None and not CODE.fullmatch(text)

    sample = values.iloc[:: max(1, len(values) // SAMPLED_TEXTS)].dropna()
    if not any(map(looks, sample)):
        return None
    spellings = values.value_counts()
    count = sum(n for text, n in spellings.items() if looks(text))
    if not count or 2 * count < (total := int(spellings.sum())):
        return None
    unread = np.flatnonzero((pd.to_numeric(values, errors="coerce").isna() & values.notna()).to_numpy())
    return (int(unread[0]), str(values.iloc[unread[0]]), int(count), total) if len(unread) else None


def _notes(fitted: FittedColumn, values: pd.Series, rows: np.ndarray) -> Iterator[str]:
    column = fitted.column
    name = f"column {column.name!r}"
    if column.is_time:
        yield f"{name}: times, read as days since 1970"
    if fall_together(values, rows):
        advice = f"put a letter before names, or leave it out with ignore={column.name!r}"
        yield f"{name} holds whole numbers beyond 2^53, of which neighbours are one as inputs: {advice}"
    if column.is_numeric:
        yield from _number_notes(column.name, values, rows)
    if not column.is_numeric and column.others:
        different = values.iloc[rows].nunique()
        yield (
            f"{name}: text, {different} categories: the {len(column.categories)} most frequent have inputs of their "
            "own, the others share one"
        )
    elif not column.is_numeric:
        alone = ": it tells nothing" if len(column.categories) == 1 else ""
        yield f"{name}: text, {format_count(len(column.categories), 'category')}{alone}"
    if not column.is_numeric and (note := differ_in_case(column.categories)):
        yield f"{name}: {note}"


def _number_notes(name: str, values: pd.Series, rows: np.ndarray) -> Iterator[str]:
    """Yield what is worth knowing of a column of numbers: that it is constant, or an identifier."""
    numbers, called = values.to_numpy(), f"column {name!r}"
    held = numbers[rows][~pd.isna(numbers[rows])]
    if (held == held[0]).all():
        which = "every training row" if len(held) == len(rows) else "every training row that has a value"
        yield f"{called} is {held[0]} in {which}: it tells nothing"
        return
    if numbers.dtype != np.int64 or len(numbers) < FEW_ROWS or not values.is_unique:
        return
    counts = int(numbers.max()) - int(numbers.min()) + 1 == len(numbers)  # in any order
    if counts or IDENTIFYING.search(name):
        what = "numbers the rows" if counts else "holds a number of its own in each row"
        yield f"{called} {what}: is it a feature? ignore={name!r} leaves it out"

"""Tables: columns of numbers, times and strings become float32 inputs by what was fitted on the training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from reuse.data.column_types import TRUTH, as_text_column, numbers_of, told_apart
from reuse.data.digests import digest_table
from reuse.data.freed_memory import give_back
from reuse.data.inputs import BLOCK_ROWS, Inputs
from reuse.data.preprocessing import Column, Preprocessing
from reuse.data.raw import Options, refuse_image_options, refuse_other_kind
from reuse.data.table_columns import MISSING, fit_columns
from reuse.data.table_libraries import pd
from reuse.errors import DataError
from reuse.menus import suggest
from reuse.units import format_count, verb_of


@dataclass(frozen=True)
class TableSamples:
    """The feature columns of a table.

    Attributes:
        columns: `(n,)` each, by name, as `reuse.data.column_types.typed` returns them; none after `splits`.
        name: what the user called the table, for messages.
    """

    columns: dict[str, pd.Series]
    name: str = ""

    def fit(self, rows: np.ndarray, options: Options) -> tuple[Preprocessing, tuple[str, ...]]:
        """Return the preprocessing fitted on `rows`: medians, categories, means and standard deviations.

        Raises:
            DataError: a column of numbers has no value in `rows`, or holds texts beside numbers.
        """
        refuse_image_options(options, "a table")
        fitted, notes = fit_columns(self.columns, rows, self.name)
        columns = tuple(one.column for one in fitted)
        mean, std = (tuple(value for one in fitted for value in getattr(one, of)) for of in ("mean", "std"))
        return Preprocessing("table", mean=mean, std=std, columns=columns), (*notes, *self.missing(columns))

    def missing(self, columns: tuple[Column, ...]) -> tuple[str, ...]:
        """Return a note on each of the fitted `columns` that lacks values in this table: how many, and what is done."""
        notes = []
        for column in columns:
            count = int(self.columns[column.name].isna().sum()) if column.name in self.columns else 0
            if count and column.is_numeric:
                notes.append(
                    f"column {column.name!r}: {format_count(count, 'missing value')}, {column.fill:g} (training "
                    "median) put in"
                )
            elif count and MISSING in column.categories:
                notes.append(
                    f"column {column.name!r}: {format_count(count, 'missing value')}, a category of "
                    f"{verb_of(count, 'its', 'their')} own"
                )
        return tuple(notes)

    def inputs(self, rows: np.ndarray, preprocessing: Preprocessing) -> tuple[Inputs, tuple[str, ...]]:
        """Return `rows` preprocessed, and a note on each category that was not there when it was fitted."""
        used = self._used(preprocessing)
        inputs = TableInputs(used, rows, preprocessing)
        inputs.resident()
        return inputs, _unseen_notes(used, rows, preprocessing)

    def splits(
        self, parts: Mapping[str, np.ndarray], preprocessing: Preprocessing
    ) -> dict[str, tuple[Inputs, tuple[str, ...]]]:
        """Return the rows of each part as `inputs` does, for which this table gives up its columns, one by one.

        So a table and its inputs never stand in memory together.

        Args:
            parts: the rows of each split, by its name.
            preprocessing: fitted.
        """
        used = self._used(preprocessing)
        found = {name: TableInputs(used, rows, preprocessing) for name, rows in parts.items()}
        notes = {name: _unseen_notes(used, rows, preprocessing) for name, rows in parts.items()}
        self.columns.clear()
        give_back()
        for inputs in found.values():
            inputs.digests()  # of what the columns hold, so before they go
            give_back()
        if all(inputs.fits() for inputs in found.values()):
            _encode_together(list(found.values()), used, preprocessing)
            give_back()
        return {name: (inputs, notes[name]) for name, inputs in found.items()}

    def _used(self, preprocessing: Preprocessing) -> dict[str, pd.Series]:
        """Return the columns that were fitted."""
        refuse_other_kind(preprocessing, "table", self.name)
        for column in preprocessing.columns:
            if column.name not in self.columns:
                near = suggest(column.name, self.columns)
                raise DataError(f"column {column.name!r}, which the preprocessing expects, is not in the table: {near}")
        return {column.name: self.columns[column.name] for column in preprocessing.columns}


class TableInputs(Inputs):
    """Some rows of a table, encoded once where they fit into memory."""

    def __init__(self, columns: Mapping[str, pd.Series], rows: np.ndarray, preprocessing: Preprocessing) -> None:
        super().__init__(len(rows))
        self.rows, self._columns, self._preprocessing = rows, columns, preprocessing
        self.shape = (sum(column.width for column in preprocessing.columns),)

    def hold(self, encoded: np.ndarray) -> None:
        """Take all samples, float32 `(n, *shape)`, as somebody else has encoded them."""
        self._resident = (torch.from_numpy(encoded),)

    def _prepare(self, indices: np.ndarray) -> Tensor:
        return torch.from_numpy(_encode(self._columns, self._preprocessing, self.rows[indices]))

    def _prepare_all(self) -> tuple[Tensor, ...]:
        return (self._prepare(np.arange(len(self))),)  # a column at a time, so that no second copy is made

    def _digest(self) -> np.ndarray:
        blocks = [self.rows[start : start + BLOCK_ROWS] for start in range(0, len(self), BLOCK_ROWS)]
        digests = np.concatenate([self._digest_block(rows) for rows in blocks or [self.rows]])
        if self._resident is not None:
            self._columns = {}  # nothing is asked of them any more
        return digests

    def _digest_block(self, rows: np.ndarray) -> np.ndarray:
        kinds = self._preprocessing.columns
        numbers = [numbers_of(c.name, self._columns[c.name], rows) for c in kinds if c.is_numeric]
        texts = [as_texts(self._columns[c.name].iloc[rows]) for c in kinds if not c.is_numeric]
        layout = "\n".join(f"{c.name}:{'number' if c.is_numeric else 'text'}" for c in kinds)
        matrix = np.stack(numbers, axis=1) if numbers else np.empty((len(rows), 0))
        return digest_table(np.ascontiguousarray(matrix), texts, layout)


def as_texts(values: pd.Series) -> np.ndarray:
    """Return a typed column as objects, `str` or None where one is missing."""
    places, different = told_apart(as_text_column(values))  # rows share what they hold alike
    held: np.ndarray = np.array([*different.tolist(), None], object)[places]
    return held


def _encode_together(inputs: Sequence[TableInputs], columns: dict[str, pd.Series], fitted: Preprocessing) -> None:
    """Encode all rows of some inputs, and drop each of `columns` as soon as all of them have it."""
    narrow: list[list[np.ndarray]] = [[] for _ in inputs]
    places = _places(fitted)
    for place in places:
        values = columns[place.column.name]
        for own, one in zip(narrow, inputs, strict=True):
            own.append(_narrow(place, values, one.rows))
        del columns[place.column.name], values
    for own, one in zip(narrow, inputs, strict=True):
        encoded = np.zeros((len(one), *one.shape), np.float32)
        for place in reversed(places):
            _lay_out(encoded, place, own.pop())
        one.hold(encoded)


def _encode(table: Mapping[str, pd.Series], fitted: Preprocessing, rows: np.ndarray) -> np.ndarray:
    """Return `rows` as float32 `(len(rows), inputs)`: missing numbers filled in, categories as 0 or 1."""
    encoded = np.zeros((len(rows), sum(column.width for column in fitted.columns)), np.float32)
    for place in _places(fitted):
        _lay_out(encoded, place, _narrow(place, table[place.column.name], rows))
    return encoded


@dataclass(frozen=True)
class _PlacedColumn:
    """A fitted column, the first of its inputs, and the mean and deviation of its numbers."""

    column: Column
    first: int
    mean: float = 0.0
    std: float = 1.0


def _places(fitted: Preprocessing) -> list[_PlacedColumn]:
    firsts = [0, *accumulate(column.width for column in fitted.columns)]
    if not fitted.mean:
        return [_PlacedColumn(column, first) for column, first in zip(fitted.columns, firsts, strict=False)]
    return [
        _PlacedColumn(c, first, fitted.mean[first], fitted.std[first])
        for c, first in zip(fitted.columns, firsts, strict=False)
    ]


def _narrow(place: _PlacedColumn, values: pd.Series, rows: np.ndarray) -> np.ndarray:
    """Return a column at `rows` with one value a row: float32 numbers as they are learned, or places of categories."""
    column = place.column
    if not column.is_numeric:
        return _codes(column, values.iloc[rows]).astype(np.int32)
    numbers = numbers_of(column.name, values, rows)
    filled = np.where(np.isnan(numbers), column.fill, numbers)
    # In float64: a year or a coordinate has a small spread around a large mean.
    narrow: np.ndarray = ((filled - place.mean) / place.std).astype(np.float32)
    return narrow


def _lay_out(encoded: np.ndarray, place: _PlacedColumn, narrow: np.ndarray) -> None:
    """Write a column into the inputs, which are zeros there."""
    if place.column.is_numeric:
        encoded[:, place.first] = narrow
    else:
        known = np.flatnonzero(narrow >= 0)
        encoded[known, place.first + narrow[known]] = 1


def _codes(column: Column, values: pd.Series) -> np.ndarray:
    """Return the place of each value among the categories, that of the others, or -1."""
    texts = as_text_column(values).astype(object)
    categories = [TRUTH.get(category.lower(), category) for category in column.categories]
    index = pd.Index(categories if len(set(categories)) == len(categories) else column.categories, dtype=object)
    codes = index.get_indexer(texts.where(texts.notna(), MISSING))
    return np.where(codes < 0, len(column.categories), codes) if column.others else codes


def _unseen_notes(columns: Mapping[str, pd.Series], rows: np.ndarray, preprocessing: Preprocessing) -> tuple[str, ...]:
    texts = [column for column in preprocessing.columns if not column.is_numeric and not column.others]
    return tuple(note for column in texts for note in _unseen(column, columns[column.name], rows))


def _unseen(column: Column, values: pd.Series, rows: np.ndarray) -> list[str]:
    chosen = values.iloc[rows]
    unseen = as_text_column(chosen[_codes(column, chosen) < 0]).astype(object)
    if not len(unseen):
        return []
    examples = ", ".join(repr(text) for text in sorted(set(unseen.where(unseen.notna(), MISSING)))[:5])
    return [
        (
            f"column {column.name!r}: {format_count(len(unseen), 'row')} with a category that was not fitted "
            f"({examples}): all zeros"
        )
    ]

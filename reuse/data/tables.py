"""Tables: columns of numbers, times and strings become float32 inputs by what was fitted on the training rows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reuse.data.column_types import TRUTH, as_text_column, numbers_of
from reuse.data.digests import digest_table
from reuse.data.inputs import BLOCK_ROWS, Inputs
from reuse.data.preprocessing import Column, Preprocessing
from reuse.data.raw import Options, refuse_image_options, refuse_other_kind
from reuse.data.table_columns import MISSING, fit_columns
from reuse.errors import DataError
from reuse.menus import suggest


@dataclass(frozen=True)
class TableSamples:
    """The feature columns of a table.

    Attributes:
        columns: `(n,)` each, by name, as `reuse.data.column_types.typed` returns them.
        name: what the user called the table, for messages.
    """

    columns: Mapping[str, pd.Series]
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
                    f"column {column.name!r}: {count} missing values, {column.fill:g} (training median) put in"
                )
            elif count and MISSING in column.categories:
                notes.append(f"column {column.name!r}: {count} missing values, a category of their own")
        return tuple(notes)

    def inputs(self, rows: np.ndarray, preprocessing: Preprocessing) -> tuple[Inputs, tuple[str, ...]]:
        """Return `rows` preprocessed, and a note on each category that was not there when it was fitted."""
        refuse_other_kind(preprocessing, "table", self.name)
        for column in preprocessing.columns:
            if column.name not in self.columns:
                near = suggest(column.name, self.columns)
                raise DataError(f"column {column.name!r}, which the preprocessing expects, is not in the table: {near}")
        texts = [column for column in preprocessing.columns if not column.is_numeric and not column.others]
        notes = tuple(note for column in texts for note in _unseen(column, self.columns[column.name], rows))
        used = {column.name: self.columns[column.name] for column in preprocessing.columns}
        return TableInputs(used, rows, preprocessing), notes


class TableInputs(Inputs):
    """Some rows of a table, encoded once where they fit into memory."""

    def __init__(self, columns: Mapping[str, pd.Series], rows: np.ndarray, preprocessing: Preprocessing) -> None:
        super().__init__(len(rows))
        self._columns, self._rows, self._preprocessing = columns, rows, preprocessing
        self.shape = (sum(column.width for column in preprocessing.columns),)
        self.resident()

    def _prepare(self, indices: np.ndarray) -> Tensor:
        return torch.from_numpy(_encode(self._columns, self._preprocessing, self._rows[indices]))

    def _prepare_all(self) -> tuple[Tensor, ...]:
        return (self._prepare(np.arange(len(self))),)  # a column at a time, so that no second copy is made

    def _digest(self) -> np.ndarray:
        blocks = [self._rows[start : start + BLOCK_ROWS] for start in range(0, len(self), BLOCK_ROWS)]
        digests = np.concatenate([self._digest_block(rows) for rows in blocks or [self._rows]])
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
    places, different = pd.factorize(as_text_column(values))  # rows share what they hold alike
    held: np.ndarray = np.array([*different.tolist(), None], object)[places]
    return held


def _encode(table: Mapping[str, pd.Series], fitted: Preprocessing, rows: np.ndarray) -> np.ndarray:
    """Return `rows` as float32 `(len(rows), inputs)`: missing numbers filled in, categories as 0 or 1."""
    encoded = np.zeros((len(rows), sum(column.width for column in fitted.columns)), np.float32)
    start = 0
    for column in fitted.columns:
        values = table[column.name]
        if column.is_numeric:
            numbers = numbers_of(column.name, values, rows)
            filled = np.where(np.isnan(numbers), column.fill, numbers)
            # In float64: a year or a coordinate has a small spread around a large mean.
            encoded[:, start] = (filled - fitted.mean[start]) / fitted.std[start] if fitted.mean else filled
        else:
            codes = _codes(column, values.iloc[rows])
            known = np.flatnonzero(codes >= 0)
            encoded[known, start + codes[known]] = 1
        start += column.width
    return encoded


def _codes(column: Column, values: pd.Series) -> np.ndarray:
    """Return the place of each value among the categories, that of the others, or -1."""
    texts = as_text_column(values).astype(object)
    categories = [TRUTH.get(category.lower(), category) for category in column.categories]
    index = pd.Index(categories if len(set(categories)) == len(categories) else column.categories, dtype=object)
    codes = index.get_indexer(texts.where(texts.notna(), MISSING))
    return np.where(codes < 0, len(column.categories), codes) if column.others else codes


def _unseen(column: Column, values: pd.Series, rows: np.ndarray) -> list[str]:
    chosen = values.iloc[rows]
    unseen = as_text_column(chosen[_codes(column, chosen) < 0]).astype(object)
    if not len(unseen):
        return []
    examples = ", ".join(repr(text) for text in sorted(set(unseen.where(unseen.notna(), MISSING)))[:5])
    return [f"column {column.name!r}: {len(unseen)} rows with a category that was not fitted ({examples}): all zeros"]

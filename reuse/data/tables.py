"""Tables: columns of numbers and of strings become float32 inputs by what was fitted on the training rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from reuse.data.digests import digest_table
from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Column, Preprocessing
from reuse.data.raw import Options, refuse_image_options, refuse_other_kind
from reuse.errors import DataError
from reuse.menus import suggest

MISSING = "(missing)"
MANY_CATEGORIES = 100


@dataclass(frozen=True)
class TableSamples:
    """The feature columns of a table.

    Attributes:
        columns: `(n,)` each, by name: int64, float64 with NaN for what is missing, or objects, `str` or None.
        name: what the user called the table, for messages.
    """

    columns: Mapping[str, np.ndarray]
    name: str = ""

    def fit(self, rows: np.ndarray, options: Options) -> tuple[Preprocessing, tuple[str, ...]]:
        """Return the preprocessing fitted on `rows`: medians, categories, means and standard deviations.

        Raises:
            DataError: a column of numbers has no value in `rows`, or holds texts beside numbers.
        """
        refuse_image_options(options, "a table")
        columns = tuple(_fit_column(name, values, rows) for name, values in self.columns.items())
        encoded = _encode(self.columns, columns, rows)
        scaler = StandardScaler().fit(encoded)
        is_number = np.concatenate([np.full(column.width, column.is_numeric) for column in columns])
        mean, std = np.where(is_number, scaler.mean_, 0.0), np.where(is_number, scaler.scale_, 1.0)
        notes = (*(_categorical(column) for column in columns if not column.is_numeric), *self.missing(columns))
        return Preprocessing("table", mean=tuple(mean.tolist()), std=tuple(std.tolist()), columns=columns), notes

    def missing(self, columns: tuple[Column, ...]) -> tuple[str, ...]:
        """Return a note on each of the fitted `columns` that lacks values in this table: how many, and what is done."""
        notes = []
        for column in columns:
            values = self.columns.get(column.name, np.empty(0))
            count = sum(v is None for v in values) if values.dtype.kind == "O" else int(np.isnan(values).sum())
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
        notes = tuple(
            note
            for column in preprocessing.columns
            if not column.is_numeric
            for note in _unseen(column, as_texts(self.columns[column.name][rows]))
        )
        return TableInputs(self.columns, rows, preprocessing), notes


class TableInputs(Inputs):
    """Some rows of a table, encoded once: a table's inputs are small."""

    def __init__(self, columns: Mapping[str, np.ndarray], rows: np.ndarray, preprocessing: Preprocessing) -> None:
        super().__init__(len(rows))
        self._columns, self._rows, self._kinds = columns, rows, preprocessing.columns
        self._resident = preprocessing.normalise(torch.from_numpy(_encode(columns, preprocessing.columns, rows)))
        self.shape = tuple(self._resident.shape[1:])

    def _prepare(self, indices: np.ndarray) -> Tensor:
        assert self._resident is not None
        return self._resident[torch.from_numpy(indices)]

    def _digest(self) -> np.ndarray:
        numeric = [c for c in self._kinds if c.is_numeric]
        numbers = [as_numbers(c.name, self._columns[c.name], self._rows) for c in numeric]
        texts = [as_texts(self._columns[c.name][self._rows]) for c in self._kinds if not c.is_numeric]
        layout = "\n".join(f"{c.name}:{'number' if c.is_numeric else 'text'}" for c in self._kinds)
        matrix = np.stack(numbers, axis=1) if numbers else np.empty((len(self._rows), 0))
        return digest_table(np.ascontiguousarray(matrix), texts, layout)


def as_numbers(name: str, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return `values[rows]` as float64, NaN where one is missing.

    Raises:
        DataError: a value is not a number, or is infinite.
    """
    chosen = values[rows]
    if chosen.dtype.kind == "O":
        bad = [i for i, value in enumerate(chosen) if value is not None and read_number(value) is None]
        if bad:
            raise DataError(
                f"column {name!r} holds {chosen[bad[0]]!r} in row {rows[bad[0]]} (from 0): expected a number"
            )
    numbers = np.asarray(
        [np.nan if v is None else v for v in chosen] if chosen.dtype.kind == "O" else chosen, np.float64
    )
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        raise DataError(
            f"column {name!r} is infinite in row {rows[infinite[0]]} (from 0): fill it in or remove the row"
        )
    return numbers


def as_texts(values: np.ndarray) -> np.ndarray:
    """Return values as objects, `str` or None where one is missing; 1.0 reads "1", as in a column without gaps."""
    whole = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values.tolist()]
    texts = [None if value is None or value != value else str(value) for value in whole]
    return as_objects(texts)


def as_objects(values: Sequence[str | None]) -> np.ndarray:
    """Return strings, None where one is missing, as an array `(n,)` of objects."""
    result = np.empty(len(values), object)
    result[:] = values
    return result


def read_number(text: str) -> int | float | None:
    """Return the number that a cell holds, None where it holds none."""
    if "_" in text:  # Python reads 1_000 as a number, and no table means one
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    try:
        return int(text)
    except ValueError:
        return number


def _fit_column(name: str, values: np.ndarray, rows: np.ndarray) -> Column:
    if values.dtype.kind == "O":
        _refuse_unread_numbers(name, values)
        return Column(name, categories=tuple(sorted({MISSING if value is None else value for value in values[rows]})))
    numbers = as_numbers(name, values, rows)
    if np.isnan(numbers).all():
        raise DataError(f"column {name!r} has no value in the training split: remove the column")
    return Column(name, fill=float(np.nanmedian(numbers)))


def _refuse_unread_numbers(name: str, values: np.ndarray) -> None:
    """Raise where a column looks like numbers that were not all read as such: it would become categories."""
    texts = [(row, text) for row, text in enumerate(values) if text is not None]
    unread = [(row, text) for row, text in texts if read_number(text) is None]
    num_numbers = sum(read_number(text.replace(",", ".")) is not None for _, text in texts)
    if unread and 2 * num_numbers >= len(texts):
        row, text = unread[0]
        raise DataError(
            f"column {name!r} holds {text!r} in row {row} (from 0), and {num_numbers} of its {len(texts)} values look "
            "like numbers: write missing values as empty and decimals with a point; put a letter before categories"
        )


def _categorical(column: Column) -> str:
    count = len(column.categories)
    return f"column {column.name!r}: text, {count} categories" + (
        ", one input each: is it a feature?" if count > MANY_CATEGORIES else ""
    )


def _encode(table: Mapping[str, np.ndarray], columns: tuple[Column, ...], rows: np.ndarray) -> np.ndarray:
    """Return `rows` as float64 `(len(rows), inputs)`: missing numbers filled in, categories as 0 or 1."""
    blocks = []
    for column in columns:
        values = table[column.name]
        if column.is_numeric:
            numbers = as_numbers(column.name, values, rows)
            blocks.append(np.where(np.isnan(numbers), column.fill, numbers)[:, None])
        else:
            places = {category: place for place, category in enumerate(column.categories)}
            codes = [places.get(MISSING if text is None else text, -1) for text in as_texts(values[rows])]
            blocks.append((np.asarray(codes, np.int64)[:, None] == np.arange(column.width)).astype(np.float64))
    return np.concatenate(blocks, axis=1)


def _unseen(column: Column, texts: np.ndarray) -> list[str]:
    unseen = [MISSING if text is None else text for text in texts]
    unseen = [text for text in unseen if text not in column.categories]
    if not unseen:
        return []
    examples = ", ".join(repr(text) for text in sorted(set(unseen))[:5])
    return [f"column {column.name!r}: {len(unseen)} rows with a category that was not fitted ({examples}): all zeros"]

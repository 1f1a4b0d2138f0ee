"""Rows as programs have them at hand, records, a column or a row of a frame, as what is read from memory."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image, fromarray

from reuse.data.preprocessing import Preprocessing
from reuse.data.several import are_rows_of_several
from reuse.data.table_libraries import pd
from reuse.errors import DataError, UsageError
from reuse.listing import some_of

WITH_COLUMNS = ("table", "text", "tokenized")
EXPECTED = "give a data frame, a list of records with its columns, or a file"
MOST_NAMES = 8


def plain_rows(data: Any, preprocessing: Preprocessing) -> Any:
    """Return rows as `reuse.load` takes them; what is none of these forms comes back as it is.

    Of a table: records (dictionaries, named tuples, rows of NumPy's or a frame), one of them, or columns by name are a
    data frame. Of images: a column or tuple of files or pictures is a list, and arrays of several sizes are pictures.

    Args:
        data: the rows.
        preprocessing: of the model that they are for.

    Raises:
        DataError: columns by name of several lengths, or with more values a row, or a dictionary of other names.
        UsageError: a column of a frame, where the model was made for rows of several.
    """
    rows = _as_read(data, preprocessing)
    if isinstance(rows, Mapping) and rows and preprocessing.kind != "several" and are_rows_of_several(rows):
        given = some_of([repr(name) for name in rows], MOST_NAMES)
        raise DataError(f"a dictionary of {given}, and the model takes {_taken(preprocessing)}")
    return rows


def _as_read(data: Any, preprocessing: Preprocessing) -> Any:
    if preprocessing.kind in WITH_COLUMNS:
        return _of_a_table(data, preprocessing)
    return _of_pictures(data) if preprocessing.kind == "images" else _of_numbers(data, len(preprocessing.mean))


def _taken(preprocessing: Preprocessing) -> str:
    """Return in words what a model takes in place of a dictionary of other names."""
    names = _names_of_columns(preprocessing)
    if preprocessing.kind not in WITH_COLUMNS or not any(names):
        return "rows without names: give an array, or call it 'x'"
    return f"{'columns' if len(names) > 1 else 'the column'} {some_of(list(map(repr, names)), MOST_NAMES)}: {EXPECTED}"


def _names_of_columns(preprocessing: Preprocessing) -> list[str]:
    return [column.name for column in preprocessing.columns] or [preprocessing.text or ""]


def _of_a_table(data: Any, preprocessing: Preprocessing) -> Any:
    names = _names_of_columns(preprocessing)
    if _is_series(data):
        return _of_a_series(data, names)
    if isinstance(data, np.ndarray | np.void) and data.dtype.names:
        return pd.DataFrame.from_records(np.atleast_1d(data))
    if _is_record(data) and any(name in _record(data) for name in names):
        return _of_names(_record(data), names)
    if isinstance(data, list | tuple) and data and all(map(_is_record, data)):
        return pd.DataFrame([_record(row) for row in data])
    return data


def _of_names(data: dict[str, Any], names: Sequence[str]) -> Any:
    """Return what stands under names as a frame: one row, or columns, beside which a single value is for all rows."""
    if not any(_dimensions(data[name]) for name in names if name in data):
        return pd.DataFrame([data])
    lengths = {name: len(column) for name, column in data.items() if _dimensions(column)}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} of {length}" for name, length in lengths.items())
        raise DataError(f"columns of several lengths, {told}: give each one value a row")
    wide = next((name for name, column in data.items() if _dimensions(column) > 1), None)
    if wide is not None:
        raise DataError(f"column {wide!r} is of shape {tuple(data[wide].shape)}: give it one value a row")
    return pd.DataFrame(data)


def _of_a_series(data: Any, names: Sequence[str]) -> Any:
    """Return a row of a frame, or its only column, as a frame."""
    if _is_row_of(data, names):
        return pd.DataFrame([data.to_dict()])
    if len(names) == 1:
        return pd.DataFrame({names[0]: data.to_list()})
    raise UsageError(
        f"a Series called {data.name!r}, and the model takes rows of the {len(names)} columns {names[0]!r} to "
        f"{names[-1]!r}: {EXPECTED}"
    )


def _of_pictures(data: Any) -> Any:
    if _is_series(data):
        return data.to_list()
    if isinstance(data, tuple) and data and all(isinstance(one, str | Path | Image) for one in data):
        return list(data)
    if isinstance(data, list) and len({np.shape(one) for one in data if _is_picture(one)}) > 1:
        return [fromarray(one) if _is_picture(one) else one for one in data]
    return data


def _of_numbers(data: Any, num_features: int) -> Any:
    """Return a row of a frame of numbers as one row, a column as rows of one number; 0 features: not known."""
    if not _is_series(data):
        return data
    if num_features == 1:
        return data.to_numpy()[:, None]
    if num_features and (len(data) != num_features or _is_column(data)):
        raise UsageError(
            f"a Series called {data.name!r} of {len(data)} values, and the model takes rows of {num_features} numbers: "
            "give a row of a frame, or an array of rows"
        )
    return data.to_numpy()[None]


def _is_row_of(data: Any, names: Sequence[str]) -> bool:
    """Return whether a Series is a row: a column is called as one, or has labels that come twice."""
    index = getattr(data, "index", None)
    return index is not None and any(name in index for name in names) and index.is_unique and data.name not in names


def _is_column(data: Any) -> bool:
    """Return whether a Series of numbers has a column's name, and no names of columns beside its values."""
    labels = getattr(data, "index", (None,))
    return isinstance(data.name, str) and data.name != "" and not all(isinstance(label, str) for label in labels)


def _is_series(data: Any) -> bool:
    """Return whether this is a column or a row of pandas or polars."""
    return any(
        library in sys.modules and isinstance(data, sys.modules[library].Series) for library in ("pandas", "polars")
    )


def _is_record(row: Any) -> bool:
    is_numpys = isinstance(row, np.void) and row.dtype.names is not None
    return isinstance(row, Mapping) or hasattr(row, "_asdict") or is_numpys or _is_series(row)


def _record(row: Any) -> dict[str, Any]:
    if hasattr(row, "_asdict"):
        return dict(row._asdict())
    if isinstance(row, np.void):
        return {name: row[name] for name in row.dtype.names or ()}
    return dict(row.to_dict() if _is_series(row) else row)


def _dimensions(value: Any) -> int:
    """Return 0 of a single value, 1 of a column, more of an array of more."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return 1 if is_list or _is_series(value) else getattr(value, "ndim", 0)


def _is_picture(one: Any) -> bool:
    return isinstance(one, np.ndarray) and one.dtype == np.uint8 and (one.ndim == 2 or one.shape[2:] in ((3,), (4,)))

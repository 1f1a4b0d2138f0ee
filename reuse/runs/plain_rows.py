"""Rows as programs have them at hand, records, a column or a row of a frame, as what is read from memory."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image, fromarray

from reuse.data.preprocessing import Preprocessing
from reuse.data.table_libraries import pd
from reuse.errors import UsageError

WITH_COLUMNS = ("table", "text", "tokenized")
EXPECTED = "give a data frame, a list of records with its columns, or a file"


def plain_rows(data: Any, preprocessing: Preprocessing) -> Any:
    """Return rows as `reuse.load` takes them; what is none of these forms comes back as it is.

    Of a table: records (dictionaries, named tuples, rows of NumPy's or a frame), one of them, or columns by name are a
    data frame. Of images: a column or tuple of files or pictures is a list, and arrays of several sizes are pictures.

    Args:
        data: the rows.
        preprocessing: of the model that they are for.

    Raises:
        UsageError: a column of a frame, where the model was made for rows of several.
    """
    if preprocessing.kind in WITH_COLUMNS:
        return _of_a_table(data, preprocessing)
    return _of_pictures(data) if preprocessing.kind == "images" else _of_numbers(data)


def _of_a_table(data: Any, preprocessing: Preprocessing) -> Any:
    names = [column.name for column in preprocessing.columns] or [preprocessing.text or ""]
    if _is_series(data):
        return _of_a_series(data, names)
    if isinstance(data, Mapping) and names[0] in data:
        return pd.DataFrame(dict(data) if _are_columns(data) else [dict(data)])
    if isinstance(data, np.ndarray) and data.dtype.names:
        return pd.DataFrame.from_records(data)
    if isinstance(data, list | tuple) and data and all(map(_is_record, data)):
        return pd.DataFrame([_record(row) for row in data])
    return data


def _of_a_series(data: Any, names: Sequence[str]) -> Any:
    """Return a row of a frame, or its only column, as a frame."""
    if hasattr(data, "index") and names[0] in data.index:
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


def _of_numbers(data: Any) -> Any:
    """Return a row of a frame of numbers as one row."""
    return data.to_numpy()[None] if _is_series(data) else data


def _is_series(data: Any) -> bool:
    """Return whether this is a column or a row of pandas or polars."""
    return any(
        library in sys.modules and isinstance(data, sys.modules[library].Series) for library in ("pandas", "polars")
    )


def _is_record(row: Any) -> bool:
    return isinstance(row, Mapping) or hasattr(row, "_asdict") or _is_series(row)


def _record(row: Any) -> dict[str, Any]:
    if hasattr(row, "_asdict"):
        return dict(row._asdict())
    return dict(row.to_dict() if _is_series(row) else row)


def _are_columns(data: Mapping[Any, Any]) -> bool:
    """Return whether a dictionary holds columns, and not one value each."""
    return all(np.ndim(column) == 1 or _is_series(column) for column in data.values())


def _is_picture(one: Any) -> bool:
    return isinstance(one, np.ndarray) and one.dtype == np.uint8 and (one.ndim == 2 or one.shape[2:] in ((3,), (4,)))

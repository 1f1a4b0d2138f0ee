"""Data frames of any library as pandas' frames, with columns of lists laid out as columns of numbers."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from reuse.data.letters import composed
from reuse.data.table_libraries import pa, pd
from reuse.errors import DataError


def is_frame(data: object) -> bool:
    """Return whether `data` is a data frame: pandas', or another's that can be handed over (polars, Arrow, …)."""
    return ("pandas" in sys.modules and isinstance(data, pd.DataFrame)) or (
        _is_lazy(data)
        or (
            (hasattr(data, "columns") or hasattr(data, "column_names"))
            and any(hasattr(data, way) for way in ("to_pandas", "__dataframe__", "__arrow_c_stream__"))
        )
    )


def as_frame(data: Any, name: str = "the data frame") -> pd.DataFrame:
    """Return a data frame as one of pandas, its columns called by strings.

    Raises:
        DataError: it cannot be handed over, or two columns have one name.
    """
    try:
        frame = data if isinstance(data, pd.DataFrame) else _handed_over(data)
    except (TypeError, ValueError, NotImplementedError, ImportError, pa.ArrowException) as error:
        raise DataError(f"{name} cannot be read as a data frame ({error}): give one of pandas or polars") from error
    # Without blanks around them, as in a .csv file.
    called = (" ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in frame.columns)
    names = [composed(name.strip()) for name in called]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{name} has two columns called {twice!r}: rename one")
    return frame.set_axis(names, axis=1).reset_index(drop=True)


def laid_out(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame in which a column `e` of lists, all of one length, is columns `e[0]`, `e[1]`, … of numbers.

    Raises:
        DataError: lists of different lengths, of something other than numbers, or missing.
    """
    lists = [name for name in frame.columns if frame[name].dtype == object and _holds_lists(frame[name])]
    if not lists:
        return frame
    parts = [_columns_of_lists(n, frame[n]) if n in lists else frame[[n]] for n in frame.columns]
    return pd.concat(parts, axis=1)


def _handed_over(data: Any) -> pd.DataFrame:
    if _is_lazy(data):
        data = data.collect()
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data).to_pandas()
    return data.to_pandas() if hasattr(data, "to_pandas") else pd.api.interchange.from_dataframe(data)


def _is_lazy(data: object) -> bool:
    """Return whether `data` is a query of polars that gives a frame; asked for its columns, it warns."""
    return hasattr(data, "collect_schema") and hasattr(data, "collect") and not hasattr(data, "to_pandas")


def _holds_lists(series: pd.Series) -> bool:
    first = next((value for value in series if value is not None and value is not pd.NA), None)
    return isinstance(first, list | tuple | np.ndarray)


def _columns_of_lists(name: str, series: pd.Series) -> pd.DataFrame:
    first = np.asarray(next(value for value in series if isinstance(value, list | tuple | np.ndarray)))
    for row, value in enumerate(series):
        if not isinstance(value, list | tuple | np.ndarray) or np.shape(value) != first.shape or first.ndim != 1:
            found = f"shape {np.shape(value)}" if isinstance(value, list | tuple | np.ndarray) else repr(value)
            raise DataError(
                f"column {name!r} holds lists, and in row {row} (from 0) {found} where row 0 has {first.shape}: give "
                "lists of one length, or leave the column out with ignore"
            )
    try:
        numbers = np.array(series.tolist(), np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"column {name!r} holds lists of what are no numbers ({error}): leave it out with ignore"
        ) from error
    return pd.DataFrame(numbers, columns=[f"{name}[{place}]" for place in range(first.size)], index=series.index)

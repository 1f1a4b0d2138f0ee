"""Types of table columns, decided once: numbers, texts (categories) or times, from whatever a file or frame holds."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from numbers import Number
from typing import Any

import numpy as np

from reuse.data.freed_memory import give_back
from reuse.data.large_numbers import EXACT, MOST_DIGITS, SIGNED, WHOLE, as_floats, is_nullable, kept_apart
from reuse.data.letters import composed_column
from reuse.data.table_libraries import pd
from reuse.errors import DataError

NUMBER, TEXT, TIME = "number", "text", "time"
MISSING_SPELLINGS = {"", "na", "n/a", "nan", "null", "none", "?"}
CODE = re.compile(r"[+-]?0\d+")
ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")
TRUTH = {"true": "True", "false": "False"}
LONGEST_SPELLING = max(map(len, (*MISSING_SPELLINGS, *TRUTH)))
SECONDS_A_DAY = 86_400.0


def typed(name: str, series: pd.Series, kind: str | None = None) -> pd.Series:
    """Return a column as int64 or float64 with NaN, as strings with None, or as times (datetime64 in UTC).

    Whole numbers beyond int64, or with gaps, are float64 as far as that holds each, else pandas' Int64 or UInt64, or
    decimals of Arrow where neither holds them.

    Strings that are all numbers are numbers, as a .csv file has no others, unless one is a code such as `007`. Strings
    that are all ISO dates are times. Truth values and categories of a frame are texts.

    Args:
        name: of the column, for messages.
        series: of any type.
        kind: what it is read as, where that was decided before: NUMBER, TEXT or TIME; None: what it holds.

    Raises:
        DataError: a value is not of the kind, or of no kind that a table can hold; the message names row and value.
    """
    plain = _plain(name, series)
    if kind_of(plain) == TEXT:
        give_back()
        plain = composed_column(plain)
    if kind is None:
        return plain if isinstance(series.dtype, pd.CategoricalDtype) else _inferred(plain)
    if kind == NUMBER:
        return as_number_column(name, plain)
    return as_text_column(plain) if kind == TEXT else _as_times(name, plain)


def as_written(name: str, series: pd.Series) -> pd.Series:
    """Return a column as strings with None, their letters as they are: what a file is called by.

    Raises:
        DataError: a value is of no kind that a table can hold.
    """
    return as_text_column(_plain(name, series))


def kind_of(series: pd.Series) -> str:
    """Return the kind of a typed column."""
    if isinstance(series.dtype, np.dtype):
        return TIME if series.dtype.kind == "M" else NUMBER if series.dtype.kind in "biufc" else TEXT
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return TIME
    return NUMBER if pd.api.types.is_numeric_dtype(series.dtype) else TEXT


def as_number_column(name: str, series: pd.Series) -> pd.Series:
    """Return a column of plain values as numbers.

    Raises:
        DataError: a value is none.
    """
    if kind_of(series) == NUMBER:
        return pd.Series(as_floats(series), index=series.index) if is_nullable(series) else series
    if kind_of(series) == TIME:
        raise DataError(f"column {name!r} holds times, such as {series.dropna().iloc[0]}: expected a number")
    numbers = pd.to_numeric(series, errors="coerce").astype(np.float64)
    bad = np.flatnonzero((numbers.isna() & series.notna()).to_numpy())
    if len(bad):
        raise DataError(f"column {name!r} holds {series.iloc[bad[0]]!r} in row {bad[0]} (from 0): expected a number")
    return numbers


def as_text_column(series: pd.Series) -> pd.Series:
    """Return a column of plain values as strings, None where one is missing; 1.0 reads "1", as without gaps."""
    if kind_of(series) == TEXT:
        return series
    if kind_of(series) == TIME:
        return series.astype(str).where(series.notna(), None)
    values = [None if value is pd.NA or value != value else _spelled(value) for value in series.tolist()]
    return pd.Series(values, index=series.index, dtype=object)


def told_apart(values: pd.Series | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each value, in the order in which they appear, -1 where one is missing, and the values.

    Args:
        values: plain ones, such as texts.
    """
    if isinstance(values.dtype, pd.StringDtype) and values.dtype.storage == "pyarrow":
        numbers, different = pd.factorize(values)
        return numbers, np.asarray(different, object)
    # Where all are texts, pandas before 3 takes those for one that are alike up to a character of number 0.
    held = np.empty(len(values) + 1, object)  # whose last value is missing
    held[:-1] = values
    numbers, different = pd.factorize(held)
    return numbers[:-1], different


def numbers_of(name: str, series: pd.Series, rows: np.ndarray) -> np.ndarray:
    """Return a typed column of numbers or times at `rows` as float64: times in days since 1970, NaN where missing.

    Raises:
        DataError: a value is infinite, or beyond float32, in which networks compute.
    """
    values = (as_floats(series) if is_nullable(series) else series.to_numpy())[rows]
    if values.dtype.kind == "M":
        missing = np.isnat(values)
        seconds = values.astype("datetime64[us]").astype(np.int64) / 1e6
        return np.where(missing, np.nan, seconds / SECONDS_A_DAY)
    numbers: np.ndarray = values.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore"):
        beyond = np.flatnonzero(np.abs(numbers) > np.finfo(np.float32).max)
    if len(beyond):
        value, row = numbers[beyond[0]], rows[beyond[0]]
        is_infinite = math.isinf(value)
        said = f"is infinite in row {row} (from 0)" if is_infinite else f"holds {value:g} in row {row} (from 0)"
        why = "" if is_infinite else ", which float32 cannot hold"
        raise DataError(f"column {name!r} {said}{why}: fill it in or remove the row")
    return numbers


def is_number(text: str) -> bool:
    """Return whether a cell holds a number; Python reads 1_000 as one, and no table means one."""
    if "_" in text:
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(name: str, series: pd.Series) -> pd.Series:
    """Return a column as numbers, times without a zone, or strings, whatever type it has."""
    kind = series.dtype
    if isinstance(kind, pd.CategoricalDtype):
        named = as_text_column(_plain(name, pd.Series(kind.categories)))
        texts = np.array([*named, None], object)[series.cat.codes.to_numpy()]  # code -1: missing
        return pd.Series(texts, index=series.index, dtype=object)
    if pd.api.types.is_bool_dtype(kind):
        return series.astype(object).map({True: "True", False: "False"}).astype(object).where(series.notna(), None)
    if pd.api.types.is_datetime64_any_dtype(kind):
        return _without_zone(series)
    if pd.api.types.is_timedelta64_dtype(kind):
        return series.dt.total_seconds()
    if pd.api.types.is_numeric_dtype(kind):
        return _plain_numbers(name, series)
    return _plain_strings(series) if isinstance(kind, pd.StringDtype) else _plain_objects(name, series)


def _plain_numbers(name: str, series: pd.Series) -> pd.Series:
    if pd.api.types.is_complex_dtype(series.dtype):
        raise DataError(f"column {name!r} holds complex numbers: give their parts as two columns")
    if isinstance(series.dtype, np.dtype) and series.dtype in (np.int64, np.float64):
        return series
    if pd.api.types.is_integer_dtype(series.dtype) and not series.isna().any() and series.max() < SIGNED:
        return series.astype(np.int64)
    if pd.api.types.is_integer_dtype(series.dtype):
        return kept_apart(series)
    if isinstance(series.dtype, pd.ArrowDtype) and not pd.api.types.is_float_dtype(series.dtype):  # may be whole
        return _plain_number_objects(series.astype(object), "decimal")
    return pd.Series(as_floats(series), index=series.index)


def _plain_objects(name: str, series: pd.Series) -> pd.Series:
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    if inferred in ("integer", "floating", "mixed-integer-float", "decimal"):
        return _plain_number_objects(series, inferred)
    if inferred in ("datetime", "datetime64", "date"):
        return _without_zone(pd.to_datetime(series, utc=True))
    if inferred in ("timedelta", "timedelta64"):
        return pd.to_timedelta(series).dt.total_seconds()
    if inferred == "empty":
        return pd.Series(np.nan, index=series.index, dtype=np.float64)
    missing = series.isna()
    held = series[~missing]
    strange = [value for value in held if _has_no_text(value)]
    if strange:
        raise DataError(f"column {name!r} holds values of type {type(strange[0]).__name__}: expected numbers or texts")
    texts = [None if gone else _decoded(name, value) for value, gone in zip(series, missing, strict=True)]
    return _plain_strings(pd.Series(texts, index=series.index, dtype=object))


def _plain_number_objects(series: pd.Series, inferred: str) -> pd.Series:
    held = series.dropna()
    is_whole = inferred == "integer" or (inferred == "decimal" and all(map(_is_whole, held)))
    if not is_whole:
        return pd.to_numeric(series.where(series.notna(), np.nan).astype(np.float64))
    if len(held) == len(series) and held.min() >= -SIGNED and held.max() < SIGNED:
        return series.astype(np.int64)
    return kept_apart(series)


def _is_whole(value: Decimal) -> bool:
    return value.is_finite() and value == value.to_integral_value()


def _has_no_text(value: Any) -> bool:
    """Return whether a value is neither number nor text: a container, or what Python shows as an object somewhere."""
    if isinstance(value, dict | set | list | tuple | np.ndarray | complex):
        return True
    is_spelled = any("__str__" in vars(kind) for kind in type(value).__mro__[:-1])
    return not (is_spelled or isinstance(value, Number))


def _plain_strings(series: pd.Series) -> pd.Series:
    """Return strings without blanks around them, None where one is spelled as missing."""
    stripped = series.str.strip()
    if stripped.equals(series):
        stripped = series  # only what has to be is kept twice: a column of identifiers is large
    short = stripped.str.len() <= LONGEST_SPELLING
    folded = stripped[short.fillna(False).astype(bool)].str.lower()
    missing = stripped.isna()
    missing[folded.index[folded.isin(MISSING_SPELLINGS)]] = True
    truth = folded[folded.isin(TRUTH)]
    if len(truth) and len(truth) + missing.sum() == len(series):
        return truth.map(TRUTH).astype(object).reindex(series.index, fill_value=None)
    return stripped.where(~missing, None) if missing.any() else stripped


def _inferred(series: pd.Series) -> pd.Series:
    if kind_of(series) != TEXT:
        return series
    is_held = series.notna().to_numpy()
    if not is_held.any():
        return pd.Series(np.nan, index=series.index, dtype=np.float64)
    first = str(series.iloc[int(is_held.argmax())])
    if not (is_number(first) or ISO_TIME.fullmatch(first)):
        return series  # most texts: nothing of them is copied
    held = series.dropna()
    if ISO_TIME.fullmatch(first) and held.str.fullmatch(ISO_TIME.pattern).all():
        times = pd.to_datetime(series, errors="coerce", utc=True, format="ISO8601")
        return _without_zone(times) if times.notna().sum() == len(held) else series
    if not is_number(first) or held.str.fullmatch(CODE.pattern).any():
        return series
    numbers = pd.to_numeric(series, errors="coerce")
    if numbers.notna().sum() < len(held):
        return series
    is_large = numbers.dtype != np.int64 and (numbers.abs() >= EXACT).any()
    if is_large and held.str.fullmatch(WHOLE).all():
        if held.str.len().max() > MOST_DIGITS:
            return series
        whole = [int(text) if isinstance(text, str) else pd.NA for text in series]
        return kept_apart(pd.Series(whole, series.index, dtype=object))
    return numbers if numbers.dtype in (np.int64, np.float64) else numbers.astype(np.float64)


def _as_times(name: str, series: pd.Series) -> pd.Series:
    if kind_of(series) == TIME:
        return series
    times = pd.to_datetime(as_text_column(series), errors="coerce", utc=True, format="ISO8601")
    bad = np.flatnonzero((times.isna() & series.notna()).to_numpy())
    if len(bad):
        raise DataError(f"column {name!r} holds {series.iloc[bad[0]]!r} in row {bad[0]} (from 0): expected a time")
    return _without_zone(times)


def _without_zone(times: pd.Series) -> pd.Series:
    if isinstance(times.dtype, pd.ArrowDtype):  # whose dates have no zone to ask for
        times = pd.to_datetime(pd.Series(times.to_numpy(object, na_value=None), index=times.index), utc=True)
    return times.dt.tz_convert("UTC").dt.tz_localize(None) if times.dt.tz is not None else times


def _decoded(name: str, value: Any) -> str:
    if not isinstance(value, bytes | bytearray):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"column {name!r} holds bytes that are no text in UTF-8: leave it out with ignore") from error


def _spelled(value: float) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

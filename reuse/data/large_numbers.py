"""Whole numbers of a table that float64 does not hold: Int64, UInt64 from 2^63 on, and decimals beyond 64 bits."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from reuse.data.table_libraries import pa, pd

EXACT = 2**53  # up to which float64 tells whole numbers apart
SIGNED, UNSIGNED = 2**63, 2**64  # below which int64 and uint64 hold them
WHOLE = r"[+-]?\d+"
MOST_DECIMALS = 76  # digits of a decimal of Arrow
MOST_DIGITS = 4000  # that Python makes a number of


def kept_apart(whole: pd.Series) -> pd.Series:
    """Return whole numbers, each as it is: float64 where that holds them, else Int64, UInt64 or decimals of Arrow.

    Decimals hold what neither 64 bits do, such as identifiers of 128 bits. Numbers of more than 76 digits are texts.

    Args:
        whole: of any type that holds them, such as Python's own or decimals.
    """
    held = whole.dropna()
    lowest, highest = (int(held.min()), int(held.max())) if len(held) else (0, 0)
    if max(-lowest, highest) <= EXACT:
        return pd.Series(as_floats(whole), index=whole.index)
    if lowest >= -SIGNED and highest < SIGNED:
        return whole.where(whole.notna(), pd.NA).astype("Int64")
    if lowest >= 0 and highest < UNSIGNED:
        return whole.where(whole.notna(), pd.NA).astype("UInt64")
    digits = [None if pd.isna(value) else str(int(value)) for value in whole]
    if max(-lowest, highest) < 10**MOST_DECIMALS:
        decimals = [None if text is None else Decimal(text) for text in digits]
        return pd.Series(pd.array(decimals, _decimals()), whole.index)
    return pd.Series(digits, whole.index, dtype=object)


def is_nullable(series: pd.Series) -> bool:
    """Return whether a typed column holds whole numbers that `kept_apart` returns, and float64 does not hold."""
    if isinstance(series.dtype, np.dtype):
        return False
    return isinstance(series.dtype, pd.Int64Dtype | pd.UInt64Dtype) or series.dtype == _decimals()


def as_floats(series: pd.Series) -> np.ndarray:
    """Return numbers as float64, NaN where they are missing."""
    floats: np.ndarray = series.to_numpy(np.float64, na_value=np.nan)
    return floats


def fall_together(series: pd.Series, rows: np.ndarray) -> bool:
    """Return whether whole numbers of a typed column are so large that some of them are one as float64."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind not in "iu":
        return False
    is_whole = pd.api.types.is_integer_dtype(series.dtype) or is_nullable(series)
    if not is_whole or max(int(series.max()), -int(series.min())) <= EXACT:
        return False
    held = series.iloc[rows].dropna()
    return bool(held.nunique() > len(np.unique(held.to_numpy(np.float64))))


def _decimals() -> pd.ArrowDtype:
    return pd.ArrowDtype(pa.decimal256(MOST_DECIMALS, 0))

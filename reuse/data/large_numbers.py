"""Whole numbers of a table that neither float64 nor int64 hold: they stay pandas' Int64, or UInt64 from 2^63 on."""

import numpy as np
import pandas as pd
from pandas.api import types as kinds

EXACT = 2**53  # up to which float64 tells whole numbers apart
SIGNED, UNSIGNED = 2**63, 2**64  # below which int64 and uint64 hold them


def are_large(whole: pd.Series) -> bool:
    """Return whether float64 no longer tells whole numbers apart, and `as_large` does.

    Args:
        whole: numbers, as floats where some are missing.
    """
    lowest, highest = float(whole.min()), float(whole.max())
    if highest >= SIGNED:
        return lowest >= 0 and highest < UNSIGNED
    return lowest > -SIGNED and max(-lowest, highest) > EXACT


def as_large(whole: pd.Series) -> pd.Series:
    """Return whole numbers of which `are_large` is true, each as it is: missing ones are pandas' NA.

    Args:
        whole: of any type that holds them, such as Python's own.
    """
    held = whole.where(whole.notna(), pd.NA)
    return held.astype("UInt64" if held.dropna().max() >= SIGNED else "Int64")


def is_nullable(series: pd.Series) -> bool:
    """Return whether a typed column holds whole numbers as `as_large` returns them."""
    return isinstance(series.dtype, pd.Int64Dtype | pd.UInt64Dtype)


def as_floats(series: pd.Series) -> np.ndarray:
    """Return numbers as float64, NaN where they are missing."""
    floats: np.ndarray = series.to_numpy(np.float64, na_value=np.nan)
    return floats


def fall_together(series: pd.Series, rows: np.ndarray) -> bool:
    """Return whether whole numbers of a typed column are so large that some of them are one as float64."""
    if not kinds.is_integer_dtype(series.dtype) or max(int(series.max()), -int(series.min())) <= EXACT:
        return False
    held = series.iloc[rows].dropna()
    return bool(held.nunique() > len(np.unique(held.to_numpy(np.float64))))

"""Whole numbers of a table so large that float64 does not tell them apart: beside gaps they stay pandas' Int64."""

import numpy as np
import pandas as pd
from pandas.api import types as kinds

EXACT = 2**53  # up to which float64 tells whole numbers apart


def are_large(whole: pd.Series) -> bool:
    """Return whether float64 no longer tells whole numbers apart, and int64 does."""
    largest = whole.abs().max()
    return bool(EXACT < largest < 2**63)


def has_gaps(series: pd.Series) -> bool:
    """Return whether a typed column holds whole numbers as pandas' Int64."""
    return isinstance(series.dtype, pd.Int64Dtype)


def as_floats(series: pd.Series) -> np.ndarray:
    """Return numbers as float64, NaN where they are missing."""
    floats: np.ndarray = series.to_numpy(np.float64, na_value=np.nan)
    return floats


def fall_together(series: pd.Series, rows: np.ndarray) -> bool:
    """Return whether whole numbers of a typed column are so large that some of them are one as float64."""
    if not kinds.is_integer_dtype(series.dtype) or not series.abs().max() > EXACT:
        return False
    held = series.iloc[rows].dropna().to_numpy(np.int64)
    return len(np.unique(held)) > len(np.unique(held.astype(np.float64)))

"""The certainty of a mean, and of a share."""

import math
from collections.abc import Sequence

import numpy as np


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error, the error of a single value being NaN."""
    numbers = np.asarray(values, np.float64)
    error = numbers.std(ddof=1) / math.sqrt(len(numbers)) if len(numbers) > 1 else math.nan
    return float(numbers.mean()), float(error)


def half_interval(values: Sequence[float], confidence: float = 0.95) -> float:
    """Return half the width of Student's interval that holds the true mean with this confidence; NaN of one value."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    _, error = mean_and_error(values)
    return float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * error if len(values) > 1 else math.nan


def paired_interval(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of `second - first`, and the interval that holds the true mean with this confidence.

    Student's interval of paired differences: what the members of a pair share, such as the rows they were trained on,
    falls out.

    Args:
        first: one value a pair, at least two.
        second: as many, in the same order.
        confidence: between 0 and 1.
    """
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    mean, width = float(differences.mean()), half_interval(differences.tolist(), confidence)
    return mean, mean - width, mean + width


def wilson_interval(right: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a share (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953).

    Args:
        right: how many rows are right.
        rows: of how many, at least one.
        confidence: between 0 and 1.
    """
    from scipy.special import ndtri

    z, share = float(ndtri((1 + confidence) / 2)), right / rows
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * math.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    return max(0.0, middle - half), min(1.0, middle + half)

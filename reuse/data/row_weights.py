"""Weights of rows: how much each counts in a loss; only their ratios do, whatever their unit."""

import numpy as np

from reuse.data.targets import TargetScale
from reuse.errors import DataError


def relative_weights(weights: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return weights in units of the greatest of the training rows, which any unit of the user's fits into.

    Args:
        weights: 0 or more of each row, finite, float64 `(rows,)`.
        train: the training rows, of which one at least weighs more than 0.

    Raises:
        DataError: others weigh so much more than the training rows that no number holds it.
    """
    relative = weights / weights.max()  # first: units of the training rows alone might overflow
    most = relative[train].max()
    if most < np.finfo(np.float64).tiny:
        raise DataError(
            f"the weights of training rows are at most {weights[train].max():g}, and others reach {weights.max():g}: "
            "give weights in one unit"
        )
    scaled: np.ndarray = relative / most
    return scaled


def fitted_scale(targets: np.ndarray, train: np.ndarray, weights: np.ndarray | None) -> TargetScale:
    """Return the scale in which numbers are learned, fitted to the training rows.

    Args:
        targets: of each row, float64 `(rows, outputs)`.
        train: the training rows.
        weights: of each row, as `relative_weights` returns them; None: all alike.
    """
    return TargetScale.fit(targets[train], None if weights is None else weights[train])

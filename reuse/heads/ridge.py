"""Ridge regression in closed form (Hoerl & Kennard 1970, https://doi.org/10.1080/00401706.1970.10488634)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from reuse.errors import DataError
from reuse.heads.axes import principal_axes
from reuse.heads.linear import LinearHeads, checked_penalties, checked_shares


def solve_ridge(
    features: Tensor, targets: Tensor, penalties: Sequence[float] | Tensor, row_weights: Tensor | None = None
) -> LinearHeads:
    """Return the heads that minimise the mean over rows of ½|y - Wx - b|², plus penalty / 2 · |W|².

    Along the principal axes of the features each axis has a solution of its own, covariance / (variance + penalty), so
    that one decomposition serves all penalties. Without a penalty that is the solution of the least norm. `Ridge` of
    scikit-learn has the same with alpha = penalty · rows, `RidgeClassifier` for targets of -1 and 1.

    Args:
        features: `(rows, features)`; the computing is done in float64 where the device has it.
        targets: `(rows,)` or `(rows, outputs)`.
        penalties: from 0.
        row_weights: `(rows,)` or `(sets, rows)`, from 0; None: all rows alike. Zeros leave rows out, as of folds.

    Returns:
        Heads in the type of the features, on their device.

    Raises:
        DataError, UsageError: something given cannot be taken.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0]])
        >>> solve_ridge(x, 3 * x[:, 0] + 1, [0.0]).weight.flatten()
        tensor([3.])
    """
    values, shares = checked_penalties(penalties), checked_shares(features, targets, row_weights)
    wanted = targets.reshape(len(targets), -1).to(features.device, shares.dtype)
    if not bool(wanted.isfinite().all()):
        raise DataError("the targets hold NaN or infinity: leave those rows out")
    solved = [_solve(features.to(shares.dtype), wanted, shares.new_tensor(values), own) for own in shares]
    weight, bias = (torch.stack(parts).to(features.dtype) for parts in zip(*solved, strict=True))
    once = torch.ones(weight.shape[:2], dtype=torch.long)
    return LinearHeads(weight, bias, once, once.bool())


def _solve(features: Tensor, targets: Tensor, penalties: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights `(penalties, outputs, features)` and biases `(penalties, outputs)`."""
    own = shares > 0
    features, targets, shares = features[own], targets[own], shares[own]
    found = principal_axes(features, shares)
    mean = shares @ targets
    covariances = (found.scores * shares.unsqueeze(1)).mT @ (targets - mean)
    along = covariances.mT / (found.variances + penalties.reshape(-1, 1, 1))
    weight = along @ found.axes.mT
    return weight, mean - weight @ found.mean

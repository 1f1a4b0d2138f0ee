"""The principal axes of features: a basis along which they do not correlate."""

from dataclasses import dataclass

import torch
from torch import Tensor

AT_ONCE = 8192  # rows that are widened


@dataclass(frozen=True)
class PrincipalAxes:
    """Features in coordinates along which they do not correlate; axes along which they do not vary are left out.

    Attributes:
        mean: what is subtracted first, `(features,)`.
        axes: orthonormal columns, `(features, rank)`.
        scores: the centred features along the axes, `(rows, rank)`.
        variances: the mean square of each column of scores, ascending, `(rank,)`.
    """

    mean: Tensor
    axes: Tensor
    scores: Tensor
    variances: Tensor


def principal_axes(features: Tensor, shares: Tensor) -> PrincipalAxes:
    """Return the principal axes of features.

    The smaller of the two Gram matrices, of features or of rows, is decomposed; the other's eigenvectors follow. That
    is done in the type of `shares`: in float32 rounding drowns all axes whose variance is a thousandth of the largest.

    Args:
        features: `(rows, features)`.
        shares: of each row in the mean, summing to 1, `(rows,)` float64 where the device has it.

    Returns:
        Mean, axes, scores and variances in the type of the features.
    """
    mean = torch.mv(features.mT, shares.to(features.dtype))
    centred = features - mean
    axes, variances = (_of_columns if features.shape[1] <= features.shape[0] else _of_rows)(centred, shares)
    axes = axes.to(features.dtype)
    return PrincipalAxes(mean, axes, centred @ axes, variances.to(features.dtype))


def _of_columns(centred: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    gram = shares.new_zeros(centred.shape[1], centred.shape[1])
    for rows, own in zip(torch.split(centred, AT_ONCE), torch.split(shares, AT_ONCE), strict=True):
        weighted = rows.to(shares.dtype) * own.sqrt().unsqueeze(1)
        gram.addmm_(weighted.mT, weighted)
    variances, axes = torch.linalg.eigh(gram)
    kept = _varying(variances, max(centred.shape))
    return axes[:, kept], variances[kept]


def _of_rows(centred: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    weighted = centred.to(shares.dtype) * shares.sqrt().unsqueeze(1)
    variances, sides = torch.linalg.eigh(weighted @ weighted.mT)
    kept = _varying(variances, max(centred.shape))
    return weighted.mT @ (sides[:, kept] / variances[kept].sqrt()), variances[kept]


def _varying(variances: Tensor, size: int) -> Tensor:
    """Return which eigenvalues of a Gram matrix, ascending, are more than rounding."""
    smallest = variances[-1] * size * torch.finfo(variances.dtype).eps
    return (variances > smallest.clamp_min(0)).nonzero()[:, 0]

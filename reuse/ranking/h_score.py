"""H-score, how much of the features' variance lies between classes (Bao et al. 2019, https://arxiv.org/abs/2212.10082).

Its form for few rows shrinks the covariance (Ibrahim et al. 2021, https://arxiv.org/abs/2110.06893).
"""

import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor
from torch.nn.functional import one_hot

from reuse.heads.axes import PrincipalAxes, principal_axes
from reuse.heads.shares import shares_of


def score_h(features: Tensor, targets: Tensor, num_classes: int, weights: Tensor | None = None) -> float:
    """Return H = tr(cov(f)⁻¹ cov(E[f | y])), from 0 to the number of classes less 1.

    Along the principal axes cov(f) is diagonal, so that the trace is a sum over axes. The inverse is the pseudo-inverse
    of the directions along which features vary.

    Args:
        features: `(rows, features)`.
        targets: class numbers, `(rows,)`.
        num_classes: of the data.
        weights: how much each row counts, above 0; None: all alike.
    """
    shares = shares_of(len(features), weights)
    found = principal_axes(features.double(), shares)
    return float((_between(found, targets, num_classes, shares) / found.variances).sum())


def score_shrunk_h(features: Tensor, targets: Tensor, num_classes: int) -> float:
    """Return H_α = tr(cov_α(f)⁻¹ (1 - α) cov(E[f | y])), with cov_α(f) = (1 - α) cov(f) + α tr(cov(f))/D I.

    α is the shrinkage of Ledoit and Wolf 2004 (https://doi.org/10.1016/S0047-259X(03)00096-4).

    Args:
        features: `(rows, features)`.
        targets: class numbers, `(rows,)`.
        num_classes: of the data.
    """
    shares = shares_of(len(features), None)
    found = principal_axes(features.double(), shares)
    alpha = float(ledoit_wolf_shrinkage((features.double() - found.mean).numpy(), assume_centered=True))
    shrunk = (1 - alpha) * found.variances + alpha * found.variances.sum() / features.shape[1]
    return float(((1 - alpha) * _between(found, targets, num_classes, shares) / shrunk).sum())


def _between(found: PrincipalAxes, targets: Tensor, num_classes: int, shares: Tensor) -> Tensor:
    """Return the variance of the means of the rows' classes along each axis."""
    classes = one_hot(targets, num_classes).double() * shares.unsqueeze(1)
    counts = classes.sum(0)
    means = classes.mT @ found.scores / torch.where(counts > 0, counts, 1).unsqueeze(1)
    variances: Tensor = counts @ means.square()
    return variances

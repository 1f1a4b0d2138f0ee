"""H-score, how much of the features' variance lies between classes (Bao et al. 2019, https://arxiv.org/abs/2212.10082).

Its form for few rows shrinks the covariance (Ibrahim et al. 2021, https://arxiv.org/abs/2110.06893).
"""

import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor
from torch.nn.functional import one_hot


def score_h(features: Tensor, targets: Tensor, num_classes: int) -> float:
    """Return H = tr(cov(f)⁻¹ cov(E[f | y])), from 0 to the number of classes less 1.

    The inverse is the pseudo-inverse, of the directions along which features vary.

    Args:
        features: `(rows, features)`.
        targets: class numbers, `(rows,)`.
        num_classes: of the data.
    """
    centred, between = _parted(features, targets, num_classes)
    covariance = centred.mT @ centred / len(centred)
    return float((torch.linalg.pinv(covariance, hermitian=True) * between).sum())


def score_shrunk_h(features: Tensor, targets: Tensor, num_classes: int) -> float:
    """Return H_α = tr(cov_α(f)⁻¹ (1 - α) cov(E[f | y])), α the shrinkage of Ledoit and Wolf.

    Args:
        features: `(rows, features)`.
        targets: class numbers, `(rows,)`.
        num_classes: of the data.
    """
    centred, between = _parted(features, targets, num_classes)
    shrunk, shrinkage = ledoit_wolf(centred.numpy(), assume_centered=True)
    inverse = torch.linalg.pinv(torch.from_numpy(shrunk), hermitian=True)
    return float((1 - shrinkage) * (inverse * between).sum())


def _parted(features: Tensor, targets: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return centred features, and the covariance of the means of their classes."""
    precise, classes = features.double(), one_hot(targets, num_classes).double()
    centred = precise - precise.mean(0)
    counts = classes.sum(0)
    means = classes.mT @ centred / counts.clamp_min(1).unsqueeze(1)
    return centred, (means * counts.unsqueeze(1)).mT @ means / len(centred)

"""SFDA, a discriminant that makes its own task harder (Shao et al. 2022, https://arxiv.org/abs/2207.03036)."""

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from reuse.heads.axes import principal_axes
from reuse.heads.shares import shares_of

STEEPNESS = 5.0  # of the regularisation, and its floor: as the authors have published their code
FLOOR = 1e-10


def score_sfda(features: Tensor, targets: Tensor, num_classes: int, weights: Tensor | None = None) -> float:
    """Return the mean probability of each row's class by a regularised Fisher discriminant, from 0 to 1.

    The discriminant has the scatter within classes S̃ = (1 - λ) S + λ tr(S)/D I, with λ = exp(-5 σ(S)) and σ the
    largest eigenvalue, and the scores δ_c(x) = xᵀS̃⁻¹μ_c - ½ μ_cᵀS̃⁻¹μ_c + log π_c, whose softmax are probabilities
    p(c | x). It is fitted twice: the second time each row is mixed with the mean of the other classes, the more so the
    less sure the first was of it (ConfMix): f' = q f + (1 - q) μ_others, q its class's entry in the softmax of p.

    Args:
        features: `(rows, features)`.
        targets: class numbers, `(rows,)`; each class has a row.
        num_classes: of the data.
        weights: how much each row counts, above 0; None: all alike.
    """
    columns, shares = features.shape[1], shares_of(len(features), weights)
    classes = one_hot(targets, num_classes).double() * shares.unsqueeze(1)
    precise = principal_axes(features.double(), shares).scores  # the span of the rows, in which all of this happens
    shrinkage = _shrinkage(_within(precise, classes))
    sure = _posteriors(precise, classes, shrinkage, columns).softmax(1).gather(1, targets.unsqueeze(1))
    means = _means(precise, classes)
    others = (means.sum(0) - means) / (num_classes - 1)
    mixed = sure * precise + (1 - sure) * others[targets]
    told = _posteriors(mixed, classes, shrinkage, columns).gather(1, targets.unsqueeze(1))
    return float(shares @ told.squeeze(1))


def _means(features: Tensor, classes: Tensor) -> Tensor:
    """Return the mean of each class; a row's share in all rows stands in the column of its class."""
    means: Tensor = classes.mT @ features / classes.sum(0).unsqueeze(1)
    return means


def _within(features: Tensor, classes: Tensor) -> Tensor:
    apart = features - _means(features, classes)[classes.argmax(1)]
    return apart.mT @ (classes.sum(1, keepdim=True) * apart)


def _shrinkage(within: Tensor) -> float:
    return max(math.exp(-STEEPNESS * float(torch.linalg.eigvalsh(within)[-1])), FLOOR)


def _posteriors(features: Tensor, classes: Tensor, shrinkage: float, columns: int) -> Tensor:
    """Return the probabilities of the classes of each row, `(rows, classes)`."""
    within, means = _within(features, classes), _means(features, classes)
    identity = torch.eye(len(within), dtype=within.dtype)
    regular = (1 - shrinkage) * within + shrinkage * within.trace() / columns * identity
    weight: Tensor = means @ torch.linalg.pinv(regular, hermitian=True)
    bias = classes.sum(0).log() - (weight * means).sum(1) / 2
    scores: Tensor = features @ weight.mT + bias
    return scores.softmax(1)

"""LogME, the evidence of features for targets (You, Liu, Wang, Long 2021, https://arxiv.org/abs/2102.11005)."""

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

ITERATIONS = 1000
TOLERANCE = 1e-12  # by which the evidence grows at last, as a share of it
LARGEST = 1e12  # of a precision, where features say nothing at all of a target


def score_logme(features: Tensor, targets: Tensor, num_classes: int, weights: Tensor | None = None) -> float:
    """Return the mean over targets of the log evidence of a row, at its maximum over both precisions.

    A target y is w · f and noise, w ~ N(0, 1/α) and the noise ~ N(0, 1/β). With A = αI + βFᵀF and m = βA⁻¹Fᵀy,

        log p(y | F, α, β) = n/2 log β + D/2 log α - n/2 log 2π - β/2 |Fm - y|² - α/2 |m|² - ½ log |A|

    is maximised by MacKay's fixed point: γ = Σ βσ / (α + βσ) over the eigenvalues σ of FᵀF, α = γ / |m|²,
    β = (n - γ) / |Fm - y|². Classes are one target each, of 0 and 1.

    Args:
        features: `(rows, features)`.
        targets: class numbers `(rows,)`, or numbers `(rows, outputs)`.
        num_classes: 0 for numbers.
        weights: how many times each row is there; None: once. Only here their unit counts: evidence grows with rows.
    """
    wanted = one_hot(targets, num_classes).double() if num_classes else targets.reshape(len(targets), -1).double()
    counts = torch.ones(len(targets), dtype=torch.float64) if weights is None else weights.double()
    roots, rows = counts.sqrt().unsqueeze(1), float(counts.sum())
    wanted = wanted * roots
    variances, sides = _directions(features.double() * roots)
    along = (sides.mT @ wanted).square()  # of each target, along each direction: `(directions, targets)`
    beside = (wanted.square().sum(0) - along.sum(0)).clamp_min(0)
    each = [_evidence(variances, *one, rows) for one in zip(along.mT, beside, strict=True)]
    return sum(each) / len(each) / rows


def _directions(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues of FᵀF above rounding, and the sides of F that belong to them, `(rows, directions)`."""
    is_wide = features.shape[1] > features.shape[0]
    values, vectors = torch.linalg.eigh(features @ features.mT if is_wide else features.mT @ features)
    kept = values > values[-1].clamp_min(0) * max(features.shape) * torch.finfo(torch.float64).eps
    values, vectors = values[kept], vectors[:, kept]
    return values, vectors if is_wide else features @ vectors / values.sqrt()


def _evidence(variances: Tensor, along: Tensor, beside: Tensor, rows: float) -> float:
    """Return the greatest log evidence of one target."""
    alpha, beta, found = 1.0, 1.0, -math.inf
    for _ in range(ITERATIONS):
        shares = beta * variances / (alpha + beta * variances)  # what is explained along each direction
        squared_weights = float((shares.square() * along / variances).sum())
        missed = float(((1 - shares).square() * along).sum() + beside)
        before, found = found, _log_evidence(variances, alpha, beta, missed, squared_weights, rows)
        if abs(found - before) <= TOLERANCE * abs(found):
            break
        freedom = float(shares.sum())
        alpha = min(max(freedom, 1 / LARGEST) / max(squared_weights, 1 / LARGEST), LARGEST)
        beta = min(max(rows - freedom, 1 / LARGEST) / max(missed, 1 / LARGEST), LARGEST)
    return found


def _log_evidence(
    variances: Tensor, alpha: float, beta: float, missed: float, squared_weights: float, rows: float
) -> float:
    # Directions along which no feature varies have log α once for and once against them.
    determinant = float((alpha + beta * variances).log().sum())
    gained = rows / 2 * math.log(beta / (2 * math.pi)) + len(variances) / 2 * math.log(alpha)
    return gained - beta / 2 * missed - alpha / 2 * squared_weights - determinant / 2

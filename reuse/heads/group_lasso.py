"""Which features matter to a linear head, over many layers at once: group sparsity, a group a feature.

Evci, Dumoulin, Larochelle and Mozer, "Head2Toe: Utilizing Intermediate Representations for Better Transfer Learning",
2022 (https://arxiv.org/abs/2201.03529): a head with a group lasso, and the norm of its weights on a feature as the
feature's relevance.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from reuse.errors import UsageError
from reuse.heads.shares import shares_of

STRENGTH = 0.05  # of the penalty, as a share of the least that leaves no feature
ITERATIONS = 200
POWER_STEPS = 30


def solve_group_lasso(
    features: Tensor,
    targets: Tensor,
    penalty: float,
    num_classes: int,
    iterations: int = ITERATIONS,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the weight `(classes, features)` and bias that minimise the mean cross-entropy + penalty · Σ_j |W_j|.

    `|W_j|` is the Euclidean norm of all weights on feature j, so that a feature is used by all classes or left out by
    all. Accelerated proximal gradients with restarts (Beck and Teboulle 2009, O'Donoghue and Candès 2015).

    Args:
        features: `(rows, features)`, best in one scale.
        targets: class numbers, `(rows,)` int64.
        penalty: above 0.
        num_classes: how many there are.
        iterations: steps.
        weights: how much each row counts in the mean, `(rows,)`, from 0; None: all alike.

    Raises:
        UsageError: the penalty is not above 0.
    """
    if not penalty > 0:
        raise UsageError(f"the penalty of a group lasso is {penalty}: give a number above 0")
    wanted, shares = functional.one_hot(targets, num_classes).to(features.dtype), _shares(features, weights)
    step, bias_step = 1 / _curvature(features, shares), 2.0
    weight, bias = features.new_zeros(num_classes, features.shape[1]), _log_shares(wanted, shares)
    ahead, bias_ahead, momentum = weight, bias, 1.0
    for _ in range(iterations):
        errors = ((features @ ahead.T + bias_ahead).softmax(1) - wanted) * shares
        moved = shrunk(ahead - step * errors.T @ features, step * penalty)
        bias_moved = bias_ahead - bias_step * errors.sum(0)
        if float(((ahead - moved) * (moved - weight)).sum()) > 0:  # it goes uphill: begin anew from here
            momentum = 1.0
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        share = (momentum - 1) / following
        ahead, bias_ahead = moved + share * (moved - weight), bias_moved + share * (bias_moved - bias)
        weight, bias, momentum = moved, bias_moved, following
    return weight, bias


def shrunk(weight: Tensor, by: float) -> Tensor:
    """Return weights `(classes, features)` whose norm on each feature is less by `by`, and 0 where it was no more."""
    norms = torch.linalg.vector_norm(weight, dim=0)
    kept: Tensor = weight * (1 - by / norms.clamp(min=by)).clamp(min=0)
    return kept


def relevances(
    features: Tensor, targets: Tensor, num_classes: int, strength: float = STRENGTH, weights: Tensor | None = None
) -> Tensor:
    """Return how much each feature matters, `(features,)`: the norm of its weights in a head with a group lasso.

    Features that the head leaves out come behind all others, in the order in which a smaller penalty would take them
    in: what they lack to it, as a negative number.

    Args:
        features: `(rows, features)`, in one scale.
        targets: class numbers, `(rows,)` int64.
        num_classes: how many there are.
        strength: of the penalty, as a share of the least that leaves no feature.
        weights: how much each row counts, `(rows,)`, from 0; None: all alike.
    """
    wanted, shares = functional.one_hot(targets, num_classes).to(features.dtype), _shares(features, weights)
    least = float(_pulls(features, (wanted * shares).sum(0) - wanted, shares).max())
    if least <= 0:
        return features.new_zeros(features.shape[1])
    weight, bias = solve_group_lasso(features, targets, strength * least, num_classes, weights=weights)
    norms = torch.linalg.vector_norm(weight, dim=0)
    lacking = _pulls(features, (features @ weight.T + bias).softmax(1) - wanted, shares) - strength * least
    return torch.where(norms > 0, norms, lacking.clamp(max=0))


def _shares(features: Tensor, weights: Tensor | None) -> Tensor:
    """Return the share of each row in a mean over rows, `(rows, 1)`."""
    return shares_of(len(features), weights).to(features).unsqueeze(1)


def _pulls(features: Tensor, errors: Tensor, shares: Tensor) -> Tensor:
    """Return the norm of the loss's gradient on each feature."""
    pulls: Tensor = torch.linalg.vector_norm((errors * shares).T @ features, dim=0)
    return pulls


def _curvature(features: Tensor, shares: Tensor) -> float:
    """Return the greatest curvature of the mean cross-entropy: half the largest eigenvalue of the features' moments."""
    vector = torch.ones(features.shape[1], dtype=features.dtype, device=features.device)
    size = vector.norm()
    for _ in range(POWER_STEPS):
        vector = features.T @ (features @ (vector / size) * shares.squeeze(1))
        size = vector.norm()
    return max(float(size), torch.finfo(features.dtype).tiny) / 2 * 1.1  # found from below


def _log_shares(wanted: Tensor, shares: Tensor) -> Tensor:
    return ((wanted * shares).sum(0).clamp(min=1 / (10 * len(wanted)))).log()

"""Scores of features: what neighbours and a linear layer tell of the targets, and how many numbers count."""

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from reuse.heads.logistic import solve_logistic
from reuse.heads.ridge import solve_ridge

NEIGHBOURS = 20  # as Wu et al. 2018 (https://arxiv.org/abs/1805.01978) score features, of far more rows: 200
PENALTY = 1e-3  # on standardised features


def effective_rank(features: Tensor) -> float:
    """Return the exponential of the entropy of the shares of the singular values (Roy & Vetterli 2007).

    https://ieeexplore.ieee.org/document/7098875. From 1, all rows on a line, to the least of rows and features; 0 where
    all rows are the same.

    Args:
        features: `(rows, features)`; their mean is taken away.
    """
    precise = features.double()
    values = torch.linalg.svdvals(precise - precise.mean(0))
    if not values.numel() or values[0] <= 1e-6 * precise.abs().max():
        return 0.0
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp())


def score_neighbours(features: Tensor, targets: Tensor, num_classes: int) -> float:
    """Return how well each row's target is told by the nearest other rows, by the cosine: accuracy, or R².

    Args:
        features: `(rows, features)`.
        targets: class numbers `(rows,)`, or numbers `(rows, outputs)`.
        num_classes: 0 for numbers.
    """
    unit = normalize(features.double())
    similarities = (unit @ unit.T).fill_diagonal_(-2.0)
    nearest = similarities.topk(max(1, min(NEIGHBOURS, (len(unit) - 1) // 2))).indices
    return _score(_wanted(targets, num_classes)[nearest].mean(1), targets, num_classes)


def score_linear(features: Tensor, targets: Tensor, num_classes: int) -> float:
    """Return how well a linear layer fitted on one half of the rows tells the other half, both ways: accuracy, or R².

    Args:
        features: `(rows, features)`.
        targets: as `score_neighbours` takes them.
        num_classes: 0 for numbers.
    """
    precise = features.double()
    deviation, mean = torch.std_mean(precise, 0, correction=0)
    standard = torch.where(deviation > 0, (precise - mean) / deviation.clamp(min=1e-12), 0)
    even = torch.arange(len(standard), device=standard.device) % 2 == 0
    halves = torch.stack([even, ~even]).double()
    if num_classes:
        heads = solve_logistic(standard, targets, [PENALTY], halves, num_classes=num_classes)
    else:
        heads = solve_ridge(standard, targets, [PENALTY], halves)
    told = standard @ heads.weight[:, 0].mT + heads.bias[:, 0].unsqueeze(1)  # (halves, rows, outputs)
    return _score(torch.where(even[:, None], told[1], told[0]), targets, num_classes)


def _wanted(targets: Tensor, num_classes: int) -> Tensor:
    return one_hot(targets, num_classes).double() if num_classes else targets.reshape(len(targets), -1).double()


def _score(told: Tensor, targets: Tensor, num_classes: int) -> float:
    if num_classes:
        return float((told.argmax(1) == targets).double().mean())
    wanted = _wanted(targets, 0)
    spread = (wanted - wanted.mean(0)).square().sum(0).clamp(min=1e-12)
    return float((1 - (told - wanted).square().sum(0) / spread).mean())

"""Multinomial logistic regression by limited-memory BFGS, for all penalties at once."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from reuse.errors import DataError, UsageError
from reuse.heads.axes import principal_axes
from reuse.heads.cross_entropy import CrossEntropies, Line, Point
from reuse.heads.curvature import Curvature
from reuse.heads.line_search import find_steps
from reuse.heads.linear import LinearHeads, checked_penalties, checked_shares

LOGITS_AT_ONCE = 2**26
"""The logits that are held at once: more problems than that allows are solved in turns."""

STALLED = 3
"""After so many steps that gain nothing but rounding a problem is as near to its optimum as its type allows."""

NEAR = 1e-4
"""The distance to the optimum at which a problem that has stalled has converged, whatever was asked for."""


def solve_logistic(
    features: Tensor,
    targets: Tensor,
    penalties: Sequence[float] | Tensor,
    row_weights: Tensor | None = None,
    *,
    num_classes: int | None = None,
    tolerance: float = 1e-7,
    max_iterations: int = 1000,
) -> LinearHeads:
    """Return the heads that minimise the mean cross-entropy over rows plus penalty / 2 · |W|²; biases go free.

    That is scikit-learn's `LogisticRegression` with C = 1 / (penalty · rows), or 2 / (penalty · rows) of two classes,
    for which it has one row of weights and these heads have two.

    All penalties and sets share their matrix products. Features are turned to their principal axes, on which the
    Hessian is nearly diagonal: that diagonal, of the axes' variances, the mean p (1 - p) of each class and the penalty,
    is what L-BFGS starts from in each iteration. A line search costs no product, as logits are linear in the step.

    Args:
        features: `(rows, features)`; the computing is done in their type.
        targets: class numbers, `(rows,)` int64.
        penalties: from 0; with 0 there is no optimum where classes can be told apart by a plane.
        row_weights: `(rows,)` or `(sets, rows)`, from 0; None: all rows alike. Zeros leave rows out, as of folds; the
            weights of classes are `class_weights[targets]`.
        num_classes: None: one more than the largest target.
        tolerance: share of its loss by which a head may be worse than its optimum, as L-BFGS estimates it.
        max_iterations: after which a head is given as it is, with a warning.

    Raises:
        DataError, UsageError: something given cannot be taken.

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 1, 0, 1])
        >>> heads = solve_logistic(x, y, [1e-2, 1.0])
        >>> heads.weight.shape
        torch.Size([1, 2, 2, 1])
    """
    values, shares = checked_penalties(penalties), checked_shares(features, targets, row_weights)
    classes = _checked_classes(targets, num_classes, tolerance, max_iterations)
    found = principal_axes(features, shares.mean(0))
    scores = functional.pad(found.scores, (0, 1), value=1.0)  # the last axis is the intercept
    variances = functional.pad(found.variances, (0, 1), value=1.0)
    entropies = CrossEntropies(scores, targets.to(features.device), classes, shares.to(features.dtype))
    sets = torch.arange(len(shares)).repeat_interleave(len(values))
    each = features.new_tensor(values).repeat(len(shares))
    size = max(1, LOGITS_AT_ONCE // (classes * len(features)))
    parts = [
        _minimise(entropies, variances, *some, tolerance, max_iterations)
        for some in zip(torch.split(sets.to(features.device), size), torch.split(each, size), strict=True)
    ]
    coefficients, iterations, converged = (torch.cat(some) for some in zip(*parts, strict=True))
    _warn_unless(converged, each.cpu(), max_iterations)
    weight = coefficients[..., :-1] @ found.axes.mT
    bias = coefficients[..., -1] - weight @ found.mean
    grid = len(shares), len(values)
    shape = *grid, classes, -1
    return LinearHeads(weight.view(shape), bias.view(*grid, classes), iterations.view(grid), converged.view(grid))


def _minimise(
    entropies: CrossEntropies, variances: Tensor, sets: Tensor, penalties: Tensor, tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the coefficients along the axes `(problems, classes, axes)`, iterations, and which have converged."""
    point, curvature = entropies.begin(sets, penalties), Curvature()
    solved, numbers = torch.empty_like(point.coefficients), torch.arange(len(sets), device=sets.device)
    iterations, converged = torch.zeros(len(sets), dtype=torch.long), torch.zeros(len(sets), dtype=torch.bool)
    stalled = torch.zeros_like(sets)
    for number in range(max_iterations + 1):
        directions = _directions(point, curvature, variances)
        slopes = (point.gradients * directions).sum((1, 2), dtype=torch.float64)
        excesses = -slopes / 2 / point.values  # of a parabola of this slope whose lowest point is a step of 1 away
        ending = (excesses <= tolerance) | (stalled >= STALLED) | (number == max_iterations)
        if bool(ending.any()):
            solved[numbers[ending]] = point.coefficients[ending]
            places, limits = numbers[ending].cpu(), torch.where(stalled >= STALLED, max(tolerance, NEAR), tolerance)
            iterations[places], converged[places] = number, (excesses <= limits)[ending].cpu()
            left = (~ending).nonzero()[:, 0]
            if not len(left):
                break
            point.select(left)
            curvature.select(left)
            numbers, stalled, directions, slopes = numbers[left], stalled[left], directions[left], slopes[left]
        gained = _advance(entropies, point, curvature, directions, slopes)
        stalled = torch.where(gained, 0, stalled + 1)
    return solved, iterations, converged


def _directions(point: Point, curvature: Curvature, variances: Tensor) -> Tensor:
    guess = 1 / (point.spreads().unsqueeze(2) * variances + point.decays)
    return curvature.descend(point.gradients.flatten(1), guess.flatten(1)).view_as(guess)


def _advance(
    entropies: CrossEntropies, point: Point, curvature: Curvature, directions: Tensor, slopes: Tensor
) -> Tensor:
    """Step along directions, remember what came of it, and return which problems have gained more than rounding."""
    rounding = torch.finfo(directions.dtype).eps
    before, coefficients, gradients = point.values, point.coefficients, point.gradients
    line = Line(entropies, point, directions)
    line.go(find_steps(line.look, before, slopes, 10 * rounding))
    curvature.remember((point.coefficients - coefficients).flatten(1), (point.gradients - gradients).flatten(1))
    return point.values < before * (1 - rounding)


def _checked_classes(targets: Tensor, num_classes: int | None, tolerance: float, max_iterations: int) -> int:
    if targets.ndim != 1 or targets.is_floating_point() or targets.dtype == torch.bool:
        raise DataError(f"targets are {tuple(targets.shape)} {targets.dtype}: give class numbers, (rows,) int64")
    largest = int(targets.max())
    classes = largest + 1 if num_classes is None else num_classes
    if int(targets.min()) < 0 or largest >= classes or classes < 2:
        raise DataError(f"targets go from {int(targets.min())} to {largest}: give numbers of 2 classes or more, from 0")
    if not 0 < tolerance < 1 or max_iterations < 1:
        raise UsageError(f"tolerance is {tolerance} and max_iterations {max_iterations}: give a share, and 1 or more")
    return classes


def _warn_unless(converged: Tensor, penalties: Tensor, max_iterations: int) -> None:
    if not bool(converged.all()):
        which = ", ".join(f"{penalty:g}" for penalty in sorted({float(p) for p in penalties[~converged]}))
        warnings.warn(
            f"after up to {max_iterations} iterations heads with the penalty {which} have not converged: allow more by "
            "max_iterations, compute in float64, or ask for less by tolerance or a larger penalty",
            stacklevel=3,
        )

"""Pooling of several models: one prediction from theirs, by shares that are given or fitted, or their mean weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize  # type: ignore[import-untyped]
from torch import Tensor

from reuse.errors import DataError, RunError, UsageError
from reuse.units import format_count

SMALLEST = 1e-12  # a probability of 0 would make a loss infinite


def average_predictions(predictions: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
    """Return the weighted mean of arrays or tensors `(rows, outputs)` of one kind.

    Args:
        predictions: probabilities or numbers, one array a member.
        weights: how much each counts, 0 or more; None: all alike. Only their ratios matter.

    Raises:
        UsageError: there are none, their shapes differ, or weights that cannot be shares.
    """
    shapes = {tuple(values.shape) for values in predictions}
    if len(shapes) != 1:
        raise UsageError(f"predictions of shapes {sorted(shapes)}: give one shape, at least once")
    shares = shares_of(weights, len(predictions))
    first, *others = (share * values for share, values in zip(shares, predictions, strict=True))
    return sum(others, start=first)


def fit_weights(predictions: Sequence[Tensor], targets: Tensor, task: str) -> tuple[float, ...]:
    """Return the weights, from 0 and of sum 1, whose mix of predictions has the least loss (linear opinion pool).

    Cross-entropy, or for numbers the mean squared error, is convex in them, so there is one least value.

    Args:
        predictions: probabilities or numbers of each member, `(rows, outputs)`, for rows that none has trained on.
        targets: of these rows.
        task: "classification", "multilabel" or "regression".

    Raises:
        DataError: a prediction is not finite.
    """
    stacked = np.stack([values.double().numpy() for values in predictions])  # (members, rows, outputs)
    if not np.isfinite(stacked).all():
        raise DataError("a member predicts values that are not finite: leave it out, or train it again")
    truth = targets.double().numpy().reshape(stacked.shape[1:]) if task != "classification" else targets.numpy()
    if task == "classification":
        stacked = stacked[:, np.arange(len(truth)), truth]  # only the probability of the right class counts
    elif task == "regression":
        # The fit stops at a loss, whose size should not be the data's. Shares sum to 1, so a mean may be taken off.
        mean, scale = truth.mean(), max(float(truth.std()), SMALLEST)
        stacked, truth = (stacked - mean) / scale, (truth - mean) / scale
    start = np.full(len(stacked), 1 / len(stacked))
    found = minimize(
        lambda weights: _loss(weights, stacked, truth, task),
        start,
        method="SLSQP",
        jac=True,
        bounds=[(0, 1)] * len(stacked),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    weights = np.clip(found.x, 0, None)
    return tuple((weights / weights.sum()).tolist())


def shares_of(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """Return `count` weights as shares of sum 1; None: all alike.

    Raises:
        UsageError: not one a member, one below 0, or all 0.
    """
    if weights is None:
        return (1 / count,) * count
    total = sum(weights)
    if len(weights) != count or not all(weight >= 0 for weight in weights) or not 0 < total < float("inf"):
        raise UsageError(
            f"weights {list(weights)} for {format_count(count, 'member')}: give one of 0 or more for each, not all 0"
        )
    return tuple([float(weight / total) for weight in weights])


def average_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each tensor over state dicts, in its type; whole numbers, such as counts, are the first's.

    Raises:
        UsageError: there are none.
        RunError: names or shapes differ.
    """
    if not states:
        raise UsageError("there are no weights to average: give one state dict or more")
    for state in states[1:]:
        _check_same_shapes(states[0], state)
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor.clone()
        for name, tensor in states[0].items()
    }


def _loss(weights: np.ndarray, stacked: np.ndarray, truth: np.ndarray, task: str) -> tuple[float, np.ndarray]:
    """Return the loss of a mix and its gradient."""
    mixed = np.tensordot(weights, stacked, 1)
    if task == "regression":
        loss, slope = (mixed - truth) ** 2, 2 * (mixed - truth)
    elif task == "classification":
        mixed = np.maximum(mixed, SMALLEST)
        loss, slope = -np.log(mixed), -1 / mixed
    else:
        mixed = np.clip(mixed, SMALLEST, 1 - SMALLEST)
        loss = -(truth * np.log(mixed) + (1 - truth) * np.log1p(-mixed))
        slope = (mixed - truth) / (mixed * (1 - mixed))
    scale = 1 / mixed.size
    return float(loss.mean()), scale * (stacked * slope).reshape(len(stacked), -1).sum(1)


def _check_same_shapes(first: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    odd = sorted(first.keys() ^ other.keys())
    if odd:
        raise RunError(f"weights to be averaged differ in {', '.join(odd[:3])}: give runs of one architecture")
    for name, tensor in first.items():
        if tensor.shape != other[name].shape:
            shapes = f"{tuple(tensor.shape)} and {tuple(other[name].shape)}"
            raise RunError(f"weights to be averaged differ in {name}, {shapes}: give runs of one architecture")

"""Linear probes of layers, one by one and all together: each solved for, its settings chosen on validation rows."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reuse.errors import DataError
from reuse.heads.group_lasso import relevances
from reuse.heads.logistic import solve_logistic
from reuse.heads.shares import moments_of, shares_of

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FRACTIONS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Of the columns of all layers, that are tried."""
CONFIDENCE = 0.95
TOLERANCE = 1e-4  # of heads that are compared by the rows they get right
NEAR = 1e-7  # of the one that is chosen
SMALLEST = 1e-6  # deviation of a column that counts, as a share of its greatest value


@dataclass(frozen=True)
class ProbedRows:
    """Rows that probes are fitted to and chosen by.

    Attributes:
        targets: class numbers, `(rows,)` int64.
        num_classes: how many there are.
        divisions: rows to learn from and rows to choose by, `(rows,)` bool each; several where folds take turns.
        weights: how much each row counts in what is learned, `(rows,)`, from 0; None: all alike. In what probes are
            chosen by all rows count alike, as in metrics.
    """

    targets: Tensor
    num_classes: int
    divisions: Sequence[tuple[Tensor, Tensor]]
    weights: Tensor | None = None

    @property
    def fitted(self) -> Tensor:
        """The rows that the chosen probe is fitted to, `(rows,)` bool: those that it was chosen with, or all folds."""
        return self.divisions[0][0] if len(self.divisions) == 1 else torch.ones(len(self.targets), dtype=torch.bool)


@dataclass(frozen=True)
class LinearProbe:
    """A linear probe, as columns of features take it.

    Attributes:
        weight: `(classes, columns)`; 0 for columns that it does without.
        bias: `(classes,)`.
        penalty: that validated best.
        kept: how many columns it reads.
        accuracy: on the validation rows, the mean over folds.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    kept: int
    accuracy: float

    def correct(self, features: Tensor, targets: Tensor) -> int:
        """Return how many rows it gets right."""
        return int((self.classes(features) == targets).sum())

    def classes(self, features: Tensor) -> Tensor:
        """Return the class of each row."""
        return (features.to(self.weight.dtype) @ self.weight.T + self.bias).argmax(1)


def probe_layer(features: Tensor, rows: ProbedRows) -> LinearProbe:
    """Return the linear probe of one layer: a logistic regression whose penalty validates best.

    Args:
        features: `(rows, columns)`.
        rows: of these.

    Raises:
        DataError: there are no rows to choose by.
    """
    return _chosen(features, rows, (1.0,))


def probe_together(features: Tensor, rows: ProbedRows, fractions: Sequence[float] = FRACTIONS) -> LinearProbe:
    """Return the linear probe of many layers: of the most relevant columns, a fraction of all that validates best.

    Args:
        features: of all layers side by side, `(rows, columns)`.
        rows: of these.
        fractions: of the columns, to try.

    Raises:
        DataError: there are no rows to choose by.
    """
    return _chosen(features, rows, sorted(fractions))


def _chosen(features: Tensor, rows: ProbedRows, fractions: Sequence[float]) -> LinearProbe:
    if not all(bool(valid.any()) for _, valid in rows.divisions):
        raise DataError("there are no validation rows to choose a probe by: give more labels, or folds")
    scaled, mean, scale = _standardised(features, rows)
    tried = torch.stack([_validated(scaled, rows, division, fractions) for division in rows.divisions]).mean(0)
    accuracies, losses = tried.unbind(1)
    best = int((accuracies - SMALLEST * losses).flatten().argmax())  # of equals the one with the lower loss
    fraction, penalty = fractions[best // len(PENALTIES)], _DESCENDING[best % len(PENALTIES)]
    columns = _most_relevant(scaled, rows, rows.fitted, fractions)[: _count(fraction, features)]
    weight, bias = _solved(scaled, rows, rows.fitted, columns, [penalty], tolerance=NEAR)
    whole = torch.zeros(rows.num_classes, features.shape[1], dtype=features.dtype)
    whole[:, columns] = weight[0] / scale[columns]
    return LinearProbe(whole, bias[0] - whole @ mean, penalty, len(columns), float(accuracies.flatten()[best]))


_DESCENDING = tuple(sorted(PENALTIES, reverse=True))


def _validated(scaled: Tensor, rows: ProbedRows, division: tuple[Tensor, Tensor], fractions: Sequence[float]) -> Tensor:
    """Return the accuracy and the loss of each fraction and penalty, `(fractions, 2, penalties)`."""
    train, valid = division
    order, found = _most_relevant(scaled, rows, train, fractions), []
    for fraction in fractions:
        columns = order[: _count(fraction, scaled)]
        weight, bias = _solved(scaled, rows, train, columns, _DESCENDING)
        outputs = scaled[valid][:, columns] @ weight.mT + bias[:, None]
        truth = rows.targets[valid]
        right = (outputs.argmax(2) == truth).double().mean(1)
        loss = -outputs.double().log_softmax(2)[:, torch.arange(len(truth)), truth].mean(1)
        found.append(torch.stack([right, loss]))
    return torch.stack(found)


def _most_relevant(scaled: Tensor, rows: ProbedRows, train: Tensor, fractions: Sequence[float]) -> Tensor:
    """Return the columns in the order of their relevance; in their own where all are read in any case."""
    if tuple(fractions) == (1.0,):
        return torch.arange(scaled.shape[1])
    found = relevances(scaled[train], rows.targets[train], rows.num_classes, weights=_of(rows, train))
    return found.argsort(descending=True, stable=True)


def _solved(
    scaled: Tensor,
    rows: ProbedRows,
    train: Tensor,
    columns: Tensor,
    penalties: Sequence[float],
    tolerance: float = TOLERANCE,
) -> tuple[Tensor, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a head that could be a little nearer to its optimum
        heads = solve_logistic(
            scaled[train][:, columns],
            rows.targets[train],
            penalties,
            _of(rows, train),
            num_classes=rows.num_classes,
            tolerance=tolerance,
        )
    return heads.weight[0], heads.bias[0]


def _of(rows: ProbedRows, some: Tensor) -> Tensor | None:
    return None if rows.weights is None else rows.weights[some]


def _standardised(features: Tensor, rows: ProbedRows) -> tuple[Tensor, Tensor, Tensor]:
    """Return features in the standard scale of the fitted rows, and that scale; one that says nothing becomes 0."""
    own, weights = features[rows.fitted], _of(rows, rows.fitted)
    if weights is None:
        mean, scale = own.mean(0), own.std(0, correction=0)
    else:
        mean, scale = moments_of(own, shares_of(len(own), weights).to(own.dtype))
    scale = torch.where(scale > SMALLEST * own.abs().amax(0), scale, torch.inf)
    return (features - mean) / scale, mean, scale


def _count(fraction: float, features: Tensor) -> int:
    return max(1, round(fraction * features.shape[1]))

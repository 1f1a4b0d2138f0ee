"""The nearest other row: how often it is of a row's class (Cover & Hart 1967, https://doi.org/10.1109/TIT.1967.1053964)."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from reuse.heads.shares import shares_of

ROWS_AT_ONCE = 1024


def score_nearest(features: Tensor, targets: Tensor, num_classes: int, weights: Tensor | None = None) -> float:
    """Return how well the nearest other row, by the cosine, tells each row's target: accuracy, or R² of numbers.

    Args:
        features: `(rows, features)`.
        targets: class numbers `(rows,)`, or numbers `(rows, outputs)`.
        num_classes: 0 for numbers.
        weights: how much what is told of each row counts, as scikit-learn's scores take them; None: all alike.
    """
    shares = shares_of(len(features), weights)
    unit = normalize(features.double())
    nearest = torch.cat([_nearest(unit, some) for some in torch.arange(len(unit)).split(ROWS_AT_ONCE)])  # type: ignore[no-untyped-call]
    if num_classes:
        return float(shares @ (targets[nearest] == targets).double())
    wanted = targets.reshape(len(targets), -1).double()
    missed, spread = shares @ (wanted[nearest] - wanted).square(), shares @ (wanted - shares @ wanted).square()
    return float((1 - missed / spread.clamp_min(1e-12)).mean())


def _nearest(unit: Tensor, some: Tensor) -> Tensor:
    similarities = unit[some] @ unit.mT
    return similarities.scatter_(1, some.unsqueeze(1), -2.0).argmax(1)

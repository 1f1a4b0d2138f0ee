"""PARC, whether rows that differ in class differ in features (Bolya et al. 2021, https://arxiv.org/abs/2111.06977)."""

import numpy as np
import torch
from scipy.stats import spearmanr  # type: ignore[import-untyped]
from torch import Tensor

MOST_ROWS = 1000  # all pairs of them are compared; the paper's probe sets have 500 rows


def score_parc(features: Tensor, targets: Tensor, num_classes: int) -> float:  # noqa: ARG001 - the shape of a score
    """Return 100 times Spearman's correlation between two kinds of distances of all pairs of rows.

    Both are 1 - Pearson's correlation: of the rows' standardised features, and of their classes, one-hot. Of the latter
    there are only two, whose order is all that Spearman's correlation sees: of one class, and of two.

    Args:
        features: `(rows, features)`; of many rows, some are taken at even steps.
        targets: class numbers, `(rows,)`.
        num_classes: of the data.
    """
    some = torch.linspace(0, len(features) - 1, min(len(features), MOST_ROWS)).long()
    precise = features[some].double()
    deviation, mean = torch.std_mean(precise, 0, correction=0)
    standard = (precise - mean) / torch.where(deviation > 0, deviation, 1)
    first, second = np.triu_indices(len(some), 1)
    apart = 1 - torch.corrcoef(standard).nan_to_num().numpy()[first, second]
    differ = targets[some].numpy()[first] != targets[some].numpy()[second]
    if np.ptp(apart) == 0 or differ.all() or not differ.any():
        return 0.0
    return float(100 * spearmanr(apart, differ).statistic)

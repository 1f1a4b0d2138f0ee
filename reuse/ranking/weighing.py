"""What some rows tell, which count as much as their weights say, as if each were there so many times."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reuse.heads.shares import shares_of

LEAST_BEYOND_ONE = 1e-9  # rows that are needed beyond one, of those that count as much as all


@dataclass(frozen=True)
class SeenRows:
    """What was seen of some rows.

    Attributes:
        mean: weighted.
        deviation: weighted; NaN of a single row, and where one weighs next to everything.
        count: how many rows of one weight tell the mean as well (Kish 1965, Survey Sampling, section 11.7).
    """

    mean: float
    deviation: float
    count: float

    @classmethod
    def of(cls, values: Tensor, weights: Tensor | None) -> "SeenRows":
        """Return what is seen in values `(rows,)`, NaN for rows that were not seen."""
        seen = ~values.isnan()
        own = values[seen].double()
        if not len(own):
            return cls(torch.nan, torch.nan, 0)
        shares = shares_of(len(own), None if weights is None else weights[seen])
        count = 1 / float(shares.square().sum())
        if len(own) > 1 and bool((own == own[0]).all()):  # without any rounding
            return cls(float(own[0]), 0.0, count)
        mean = float(shares @ own)
        if count < 1 + LEAST_BEYOND_ONE:
            return cls(mean, torch.nan, count)
        variance = float(shares @ (own - mean).square()) * count / (count - 1)
        return cls(mean, variance**0.5, count)

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return float(self.deviation / self.count**0.5)

"""Several processes that fill one prefix together: which rows each computes."""

from dataclasses import dataclass

import numpy as np

from reuse.errors import UsageError


@dataclass(frozen=True)
class FillShare:
    """What one process computes of the rows that a split lacks.

    It depends on the row keys alone and not on what is missing, so that each row has one process, whenever each of them
    looks.

    Attributes:
        rank: number of this process, from 0.
        count: of the processes.
    """

    rank: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise UsageError(f"process {self.rank} of {self.count} is to fill a cache: count from 0")

    def of(self, positions: np.ndarray, rows: int) -> np.ndarray:
        """Return those of `positions`, first places of rows in `rows` row keys, that are this process's: neighbours."""
        mine: np.ndarray = positions[positions * self.count // max(1, rows) == self.rank]
        return mine


ALONE = FillShare()

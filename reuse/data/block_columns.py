"""Columns of a table that is read block by block, so that the numbers of one are nowhere twice."""

from __future__ import annotations

import numpy as np

from reuse.data.table_libraries import pd


class BlockColumn:
    """A column that is read block by block: one array as long as all of it is numbers of one type, else parts.

    Args:
        room: for how many rows there is to be room.
    """

    def __init__(self, room: int) -> None:
        self.room, self.count = room, 0
        self.numbers: np.ndarray | None = None
        self.parts: list[pd.Series] = []

    def extend(self, values: pd.Series) -> None:
        """Take in the next rows."""
        if not self.parts and values.dtype in (np.int64, np.float64):
            self.numbers = np.empty(self.room, values.dtype) if self.numbers is None else self.numbers
            if self.numbers.dtype == values.dtype:
                self._append(self.numbers, values)
                return
        if self.numbers is not None:
            self.parts, self.numbers = [self.whole()], None
        self.parts.append(values)

    def whole(self) -> pd.Series:
        """Return all rows."""
        if self.numbers is None:
            return pd.concat(self.parts, ignore_index=True)
        self.numbers.resize(self.count, refcheck=False)
        return pd.Series(self.numbers, copy=False)

    def _append(self, numbers: np.ndarray, values: pd.Series) -> None:
        if self.count + len(values) > self.room:  # lines that end otherwise, or a packed file
            self.room = 2 * (self.count + len(values))
            numbers.resize(self.room, refcheck=False)
        numbers[self.count : self.count + len(values)] = values
        self.count += len(values)

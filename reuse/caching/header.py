"""What is known of a segment once it is opened: where its data sets lie, and which rows make up a block or a unit."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import numpy as np

from reuse.caching.packing import quantized
from reuse.layers.frontier_tensor import FrontierTensor


@dataclass(frozen=True)
class Place:
    """The place of one data set in the file: `shape` values of type `storage` from byte `offset`.

    `per_block`: its rows belong to blocks of rows, one each.
    """

    offset: int
    shape: tuple[int, ...]
    storage: np.dtype[np.generic]
    per_block: bool = False

    @property
    def row_bytes(self) -> int:
        """The bytes of one row (one step along the first dimension)."""
        return prod(self.shape[1:]) * self.storage.itemsize

    @property
    def end(self) -> int:
        """The first byte after the data set."""
        return self.offset + self.shape[0] * self.row_bytes


@dataclass(frozen=True)
class Header:
    """All that is needed to read or write a segment's rows: no handle, so it crosses processes.

    `identity` tells the file from another that has its name later.
    """

    path: Path
    identity: tuple[int, ...]
    prefix_key: str
    rows: int
    block_rows: int
    frontier: tuple[FrontierTensor, ...]
    tensors: tuple[Place, ...]
    row_key: Place
    scales: tuple[Place, ...]
    checksums: Place
    units: Place | None
    unit_rows: int

    @property
    def written(self) -> tuple[Place, ...]:
        """The data sets that a block is written to, but for the checksums of its units."""
        return (*self.tensors, self.row_key, *self.scales)

    @property
    def checked(self) -> tuple[Place, ...]:
        """The data sets that `checksums` covers, in its order."""
        return (*self.written, self.units) if self.units else self.written

    @property
    def checked_names(self) -> tuple[str, ...]:
        """The names of the data sets of `checked`, for messages."""
        scales = (f"the scales of {tensor.name}" for tensor in quantized(self.frontier))
        units = ("the checksums of units",) if self.units else ()
        return (*(tensor.name for tensor in self.frontier), "row_key", *scales, *units)

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """First row and row after the last of each block."""
        return [(at, min(at + self.block_rows, self.rows)) for at in range(0, self.rows, self.block_rows)]

    @property
    def block_units(self) -> int:
        """The number of units of a block."""
        return ceil(self.block_rows / self.unit_rows)

    def units_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the units that rows lie in, `(rows,)` int64."""
        if self.block_rows % self.unit_rows == 0:
            return np.asarray(rows // self.unit_rows)
        return np.asarray(rows // self.block_rows * self.block_units + rows % self.block_rows // self.unit_rows)

    def bounds(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return first rows of units and those after the last ones, each `(units,)` int64."""
        blocks, places = np.divmod(units, self.block_units)
        starts = blocks * self.block_rows + places * self.unit_rows
        ends = np.minimum((blocks + 1) * self.block_rows, self.rows)
        stops: np.ndarray = np.minimum(starts + self.unit_rows, ends)
        return starts, stops

    def whole_units(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield the units within rows `start` to `stop` of one block: number, first row, row after the last."""
        block, place = divmod(start, self.block_rows)
        first_row, end = block * self.block_rows, min((block + 1) * self.block_rows, self.rows)
        unit = -(-place // self.unit_rows)
        first, number = first_row + unit * self.unit_rows, block * self.block_units + unit
        while first < stop and min(first + self.unit_rows, end) <= stop:
            yield number, first, min(first + self.unit_rows, end)
            first, number = first + self.unit_rows, number + 1

    def pieces(self, start: int, stop: int, num_bytes: int) -> Iterator[tuple[int, int]]:
        """Yield rows `start` to `stop` in pieces of about `num_bytes`, each of one block, that end where units do."""
        unit_bytes = self.unit_rows * sum(place.row_bytes for place in self.tensors)
        step = self.unit_rows * max(1, num_bytes // max(1, unit_bytes))
        while start < stop:
            block = start - start % self.block_rows
            end = min(block + (start - block) // step * step + step, block + self.block_rows, stop)
            yield start, end
            start = end

    def part(self, place: Place, start: int, stop: int) -> slice:
        """Return which rows of a data set belong to the block of rows `start` to `stop`."""
        index = start // self.block_rows
        return slice(index, index + 1) if place.per_block else slice(start, stop)


def check_layout(header: Header) -> None:
    """Raise where numbers and data sets of a segment do not go together, so that none of them could be read by.

    Raises:
        ValueError: the message says which.
    """
    for name, value in (("rows", header.rows), ("block_rows", header.block_rows), ("unit_rows", header.unit_rows)):
        if value < 1:
            raise ValueError(f"its {name} is {value}")
    num_blocks = ceil(header.rows / header.block_rows)
    if any(place.shape[:1] != (header.rows,) for place in (*header.tensors, header.row_key)):
        raise ValueError(f"a data set has another number of rows than {header.rows}")
    if header.checksums.shape != (num_blocks, len(header.checked)):
        raise ValueError(f"it has checksums of shape {header.checksums.shape}")
    units = (num_blocks, header.block_units, len(header.tensors))
    if header.units is not None and header.units.shape != units:
        raise ValueError(f"it has checksums of units of shape {header.units.shape}")
    if any(place.shape[:1] != (num_blocks,) for place in header.scales):
        raise ValueError(f"its scales are not of {num_blocks} blocks")

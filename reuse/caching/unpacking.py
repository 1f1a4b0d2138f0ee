"""From stored rows back to what was computed: other types, and 8-bit codes with the scales of their blocks."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reuse.caching.checking import checksum
from reuse.caching.quantizing import QuantizedTensor, dequantize, quantized
from reuse.caching.segment import Header, damaged, rows_of
from reuse.caching.stored_rows import StoredRows
from reuse.layers.frontier_tensor import FrontierTensor


class Unpacking:
    """Turns rows of a split, as stored, into what the frozen layers computed.

    Args:
        stored: the rows of the split.
        frontier: what was computed of a row.
        device: where rows are unpacked.

    Attributes:
        needed: whether anything is stored in another type than it was computed in.

    Raises:
        CacheError: the scales of a block are not what was written.
    """

    def __init__(self, stored: StoredRows, frontier: Sequence[FrontierTensor], device: torch.device) -> None:
        self.needed = any(a.dtype != b.dtype for a, b in zip(stored.frontier, frontier, strict=True))
        self._dtypes = tuple(tensor.dtype for tensor in frontier)
        self._stored = stored.frontier
        self._tables: list[Tensor] = []
        self._block: Tensor | None = None
        if quantized(stored.frontier):
            self._tables = [table.to(device) for table in _tables(stored)]
            self._block = _block_of_row(stored).to(device)

    def unpack(self, tensors: Sequence[Tensor], indices: Tensor) -> tuple[Tensor, ...]:
        """Return stored rows as they were computed.

        Args:
            tensors: what is stored, each `(rows, …)`, on the device.
            indices: which rows of the split these are, `(rows,)` int64, on the device.
        """
        blocks = None if self._block is None else self._block.index_select(0, indices)
        tables, unpacked = iter(self._tables), []
        for values, tensor, dtype in zip(tensors, self._stored, self._dtypes, strict=True):
            if isinstance(tensor, QuantizedTensor):
                assert blocks is not None
                unpacked.append(dequantize(values, *_scales(next(tables), blocks, tensor), dtype))
            else:
                unpacked.append(values.to(dtype))
        return tuple(unpacked)

    def steps(self, indices: Tensor) -> list[Tensor | None]:
        """Return for each tensor how far neighbouring codes of the rows `indices` are apart; None without codes."""
        tables = iter(self._tables)
        return [
            _scales(next(tables), self._block.index_select(0, indices), tensor)[1]
            if isinstance(tensor, QuantizedTensor) and self._block is not None
            else None
            for tensor in self._stored
        ]


def _scales(table: Tensor, blocks: Tensor, tensor: QuantizedTensor) -> tuple[Tensor, Tensor]:
    """Return low and step of each row, each `(rows, *channel_shape)`, or of one row where all are of one block."""
    chosen = table if len(table) == 1 else table.index_select(0, blocks)
    low, step = chosen.reshape(len(chosen), 2, *tensor.channel_shape).unbind(1)
    return low, step


def _tables(stored: StoredRows) -> list[Tensor]:
    """Return the scales of all blocks of all segments, `(blocks, 2, channels)` for each tensor in 8 bits."""
    of_segments = [_checked_scales(header) for header in stored.headers]
    return [torch.from_numpy(np.concatenate(tables)) for tables in zip(*of_segments, strict=True)]


def _block_of_row(stored: StoredRows) -> Tensor:
    """Return the row of the tables that holds each row's scales, `(rows,)` int64."""
    first = np.cumsum([0, *(len(header.blocks) for header in stored.headers)])
    block_rows = np.array([header.block_rows for header in stored.headers] or [1])
    return torch.from_numpy(first[stored.segments] + stored.rows // block_rows[stored.segments])


def _checked_scales(header: Header) -> list[np.ndarray]:
    recorded, first = rows_of(header, header.checksums), len(header.tensors) + 1
    tables = []
    for column, place in enumerate(header.scales, first):
        table = np.array(rows_of(header, place))
        for index in range(len(table)):
            if checksum(header, table[index : index + 1]) != recorded[index, column]:
                what = f"{header.checked_names[column]} in block {index} are not what was written"
                raise damaged(header.path, f"{what}: wrong checksum")
        tables.append(table)
    return tables

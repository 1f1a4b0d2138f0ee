"""Computing missing rows block by block and writing them as segments."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from torch import Tensor

from reuse.caching import building
from reuse.caching.header import Header
from reuse.caching.locking import disk_errors
from reuse.caching.packing import QuantizedTensor, narrow, quantize, quantized
from reuse.caching.segment import KEY_BYTES, unit_bytes
from reuse.caching.storage import describe, from_storage, row_bytes, storage_of, to_storage
from reuse.devices import dtype_name
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor

# Takes positions into the row keys, (rows,) int64; returns the frontier of those rows, each (rows, …), on any device.
ComputeRows = Callable[[np.ndarray], Sequence[Tensor]]
SEGMENT_OVERHEAD = 128 * 1024  # bytes: what HDF5 and page alignment add to a segment, at most


@dataclass(frozen=True)
class Portions:
    """Numbers of rows that are computed at once, written at once, and kept in one file."""

    compute_rows: int
    block_rows: int
    segment_rows: int


def portion(stored: Sequence[FrontierTensor], compute_rows: int, block_bytes: int, segment_bytes: int) -> Portions:
    """Return sizes near `block_bytes` and `segment_bytes`; a block is a whole number of computed batches."""
    size = row_bytes(stored) + KEY_BYTES
    block_rows = max(1, block_bytes // (size * compute_rows)) * compute_rows
    return Portions(compute_rows, block_rows, max(1, segment_bytes // (size * block_rows)) * block_rows)


def needed_bytes(stored: Sequence[FrontierTensor], rows: int, portions: Portions) -> int:
    """Return how much disk `rows` rows take, rounded up."""
    segments, blocks = -(-rows // portions.segment_rows), -(-rows // portions.block_rows)
    scales = sum(8 * tensor.channels for tensor in quantized(stored))
    units = unit_bytes(stored, rows, min(portions.block_rows, max(1, rows)))
    return rows * (row_bytes(stored) + KEY_BYTES) + blocks * scales + units + segments * SEGMENT_OVERHEAD


@dataclass(frozen=True)
class ComputedBlock:
    """A block as it is stored: positions of its rows in the row keys, its tensors, the scales of those in 8 bits."""

    positions: np.ndarray
    tensors: list[np.ndarray]
    scales: list[np.ndarray]

    def parts(self, keys: np.ndarray) -> list[np.ndarray]:
        """Return what goes into each data set that a block is written to, given all row keys, `(n, 16)` uint8."""
        return [*self.tensors, keys[self.positions], *self.scales]


def write_segment(
    folder: Path,
    prefix_key: str,
    stored: Sequence[FrontierTensor],
    keys: np.ndarray,
    blocks: Iterator[ComputedBlock],
    positions: np.ndarray,
    portions: Portions,
    rank: int = 0,
) -> Path:
    """Compute the rows at `positions` and publish them as one segment; returns its path.

    Args:
        folder: the prefix's folder, whose writer the caller is.
        prefix_key: the key of the prefix.
        stored: what is stored of a row.
        keys: all row keys, (n, 16) uint8.
        blocks: what `compute_blocks` yields for `positions`.
        positions: the rows of `keys` to write, (rows,) int64.
        portions: the sizes.
        rank: number of this process, of several that fill the prefix together.

    Raises:
        CacheError: the disk is full or cannot be written. What `blocks` raises passes through; finished blocks stay.
    """
    needed = needed_bytes(stored, len(positions), portions)
    with disk_errors(folder, needed):
        header = _begin(folder, prefix_key, stored, len(positions), min(portions.block_rows, len(positions)), rank)
    written, start, synced = [], 0, list[Future[None]]()
    with ThreadPoolExecutor(1) as background:
        for block in blocks:
            rows = len(block.positions)
            with disk_errors(folder, needed):
                written.append(building.write_block(header, start, block.parts(keys), rows))
                if synced:  # one block may wait for the disk while the next is computed, not more
                    synced.pop().result()
                synced.append(background.submit(building.sync, header))
            start += rows
    with disk_errors(folder, needed):
        for last in synced:
            last.result()
        path = building.publish(header, written, folder, rank)
        building.abandon(folder, rank)
    return path


def compute_blocks(
    positions: np.ndarray,
    compute: ComputeRows,
    frontier: Sequence[FrontierTensor],
    stored: Sequence[FrontierTensor],
    portions: Portions,
    progress: Callable[[int], object] | None = None,
) -> Iterator[ComputedBlock]:
    """Yield the blocks of the rows at `positions`; the arrays of one are used again for the next.

    Raises:
        CacheError: `compute` returns something else than `frontier`, or values that do not fit the types of `stored`.
    """
    rows = min(portions.block_rows, len(positions))
    buffers = list(map(_buffer, frontier, stored, repeat(rows)))
    for start in range(0, len(positions), rows):
        block = positions[start : start + rows]
        for at in range(0, len(block), portions.compute_rows):
            chosen = block[at : at + portions.compute_rows]
            values = checked(compute(chosen), frontier, len(chosen))
            for buffer, tensor, value in zip(buffers, stored, values, strict=True):
                held = value if isinstance(tensor, QuantizedTensor) else narrow(value, tensor)
                buffer[at : at + len(chosen)].copy_(held)
            if progress is not None:
                progress(len(chosen))
        yield _packed_block(block, [buffer[: len(block)] for buffer in buffers], stored)


def checked(values: Sequence[Tensor], frontier: Sequence[FrontierTensor], rows: int) -> list[Tensor]:
    """Return computed tensors, detached, if they are `rows` rows of the frontier.

    Raises:
        CacheError: another number of tensors, shape or type.
    """
    found = [(tuple(value.shape), value.dtype) for value in values]
    if found != [((rows, *tensor.shape), tensor.dtype) for tensor in frontier]:
        given = "; ".join(f"{dtype_name(value.dtype)} {tuple(value.shape)}" for value in values)
        raise CacheError(
            f"the prefix returned {given} for {rows} rows where the cache holds {describe(frontier)} a row"
        )
    return [value.detach() for value in values]


def _buffer(computed: FrontierTensor, stored: FrontierTensor, rows: int) -> Tensor:
    """Return memory for a block: in the type of the file, or as computed where the scales come from the whole block."""
    held = computed if isinstance(stored, QuantizedTensor) else stored
    return from_storage(np.empty((rows, *held.shape), storage_of(held)), held.dtype)


def _packed_block(positions: np.ndarray, values: Sequence[Tensor], stored: Sequence[FrontierTensor]) -> ComputedBlock:
    block = ComputedBlock(positions, [], [])
    for some, tensor in zip(values, stored, strict=True):
        held = some
        if isinstance(tensor, QuantizedTensor):
            held, table = quantize(some, tensor)
            block.scales.append(table.numpy()[None])
        block.tensors.append(to_storage(held))
    return block


def _begin(
    folder: Path, prefix_key: str, stored: Sequence[FrontierTensor], rows: int, block_rows: int, rank: int
) -> Header:
    try:
        return building.begin(folder, prefix_key, stored, rows, block_rows, rank)
    except OSError:
        building.abandon(folder, rank)  # else a disk that is too full stays so
        raise

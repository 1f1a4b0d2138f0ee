"""Computing missing rows block by block and writing them as segments."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reuse.caching import building
from reuse.caching.locking import disk_errors
from reuse.caching.segment import KEY_BYTES, Header
from reuse.caching.storage import describe, from_storage, row_bytes, storage_of
from reuse.devices import dtype_name
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor

# Takes positions into the row keys, (rows,) int64; returns the frontier of those rows, each (rows, …), on any device.
Compute = Callable[[np.ndarray], Sequence[torch.Tensor]]
SEGMENT_OVERHEAD = 128 * 1024  # bytes: what HDF5 and page alignment add to a segment, at most


@dataclass(frozen=True)
class Portions:
    """How many rows are computed at once, written at once, and kept in one file."""

    compute_rows: int
    block_rows: int
    segment_rows: int


def portion(frontier: Sequence[FrontierTensor], compute_rows: int, block_bytes: int, segment_bytes: int) -> Portions:
    """Return sizes near `block_bytes` and `segment_bytes`; a block is a whole number of computed batches."""
    size = row_bytes(frontier) + KEY_BYTES
    block_rows = max(1, block_bytes // (size * compute_rows)) * compute_rows
    return Portions(compute_rows, block_rows, max(1, segment_bytes // (size * block_rows)) * block_rows)


def needed_bytes(frontier: Sequence[FrontierTensor], rows: int, portions: Portions) -> int:
    """Return how much disk `rows` rows take, rounded up."""
    segments = -(-rows // portions.segment_rows)
    return rows * (row_bytes(frontier) + KEY_BYTES) + segments * SEGMENT_OVERHEAD


def write_segment(
    folder: Path,
    prefix_key: str,
    frontier: Sequence[FrontierTensor],
    keys: np.ndarray,
    blocks: Iterator[tuple[np.ndarray, list[np.ndarray]]],
    positions: np.ndarray,
    portions: Portions,
) -> Path:
    """Compute the rows at `positions` and publish them as one segment; returns its path.

    Args:
        folder: the prefix's folder, whose writer the caller is.
        prefix_key: the key of the prefix.
        frontier: what a row holds.
        keys: all row keys, (n, 16) uint8.
        blocks: what `compute_blocks` yields for `positions`.
        positions: the rows of `keys` to write, (rows,) int64.
        portions: the sizes.

    Raises:
        CacheError: the disk is full or cannot be written. What `blocks` raises passes through; finished blocks stay.
    """
    needed = needed_bytes(frontier, len(positions), portions)
    with disk_errors(folder, needed):
        header = _begin(folder, prefix_key, frontier, len(positions), min(portions.block_rows, len(positions)))
    written, start = [], 0
    for block, tensors in blocks:
        with disk_errors(folder, needed):
            written.append(building.write_block(header, start, tensors, keys[block]))
        start += len(block)
    with disk_errors(folder):
        path = building.publish(header, written, folder)
        building.abandon(folder)
    return path


def compute_blocks(
    positions: np.ndarray,
    compute: Compute,
    frontier: Sequence[FrontierTensor],
    portions: Portions,
    progress: Callable[[int], object] | None = None,
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yield the positions of each block and its tensors as stored; the arrays are used again for the next block."""
    rows = min(portions.block_rows, len(positions))
    buffers = [np.empty((rows, *tensor.shape), storage_of(tensor)) for tensor in frontier]
    for start in range(0, len(positions), rows):
        block = positions[start : start + rows]
        for at in range(0, len(block), portions.compute_rows):
            chosen = block[at : at + portions.compute_rows]
            values = checked(compute(chosen), frontier, len(chosen))
            for buffer, tensor, value in zip(buffers, frontier, values, strict=True):
                from_storage(buffer, tensor.dtype)[at : at + len(chosen)].copy_(value)
            if progress is not None:
                progress(len(chosen))
        yield block, [buffer[: len(block)] for buffer in buffers]


def checked(values: Sequence[torch.Tensor], frontier: Sequence[FrontierTensor], rows: int) -> list[torch.Tensor]:
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


def _begin(folder: Path, prefix_key: str, frontier: Sequence[FrontierTensor], rows: int, block_rows: int) -> Header:
    try:
        return building.begin(folder, prefix_key, frontier, rows, block_rows)
    except OSError:
        building.abandon(folder)  # else a disk that is too full stays so
        raise

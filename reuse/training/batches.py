"""Batches: which rows, in which order, and gathering them from where they lie."""

from collections.abc import Generator, Iterator
from itertools import islice, repeat
from typing import TypeVar

import torch
from torch import Tensor

from reuse.data.rows import Batch, Resident, Rows, read_in_order
from reuse.data.windows import Windows
from reuse.errors import DataError, UsageError
from reuse.seeding import generator
from reuse.units import format_count

T = TypeVar("T")


def batch_sizes(num_rows: int, batch_size: int) -> list[int]:
    """Return the rows of each batch of an epoch.

    A last batch of one row joins the batch before it: batch norm cannot train on one row.

    Raises:
        UsageError: the batch size is below 1.
        DataError: there are no rows.
    """
    if batch_size < 1:
        raise UsageError(f"batch size is {batch_size}: give 1 or more")
    if num_rows < 1:
        raise DataError("there are no rows to train on or to evaluate")
    sizes = [batch_size] * (num_rows // batch_size)
    rest = num_rows % batch_size
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def row_order(
    num_rows: int, *, seed: int, epoch: int, shuffle: bool, device: torch.device, windows: Windows | None = None
) -> Tensor:
    """Return the numbers of all rows in the order of an epoch, `(rows,)` int64.

    It depends on its arguments alone: the same for a run that was interrupted, with a cache and without, on any device.

    Args:
        num_rows: of the source.
        seed: of the run.
        epoch: its number.
        shuffle: False: as they are numbered.
        device: where the order is needed.
        windows: `windows_of(source)`, for rows that do not fit into memory; None: shuffled as a whole.
    """
    if not shuffle:
        return torch.arange(num_rows, device=device)
    drawn = generator(seed, epoch)
    order = torch.randperm(num_rows, generator=drawn) if windows is None else windows.order(num_rows, drawn)
    return order.to(device, non_blocking=True)


def batches(
    source: Rows, targets: Tensor | None, order: Tensor, sizes: list[int], device: torch.device
) -> Generator[Batch, None, None]:
    """Yield the batches of an epoch on `device`.

    Args:
        source: the rows.
        targets: `(rows, ...)` on the source's device, gathered once for the whole epoch; or None.
        order: numbers of all rows, on the source's device.
        sizes: rows of each batch.
        device: where the network computes.
    """
    labels = repeat(None) if targets is None else targets.index_select(0, order).split_with_sizes(sizes)
    with read_in_order(source, order) as rows:
        if source.device == device:
            for indices, some in zip(order.split_with_sizes(sizes), labels, strict=False):
                yield Batch(rows.gather(indices), some)
            return
        for indices, some in zip(order.split_with_sizes(sizes), labels, strict=False):
            inputs = tuple([tensor.to(device, non_blocking=True) for tensor in rows.gather(indices)])
            yield Batch(inputs, None if some is None else some.to(device, non_blocking=True))


def as_rows(rows: Rows | Tensor) -> Rows:
    """Return what a trainer reads; a tensor is read where it lies."""
    return Resident(rows) if isinstance(rows, Tensor) else rows


def beside(source: Rows, targets: Tensor | None) -> Tensor | None:
    """Return `targets` on the source's device.

    Raises:
        DataError: there are not as many targets as rows.
    """
    if targets is None:
        return None
    if len(targets) != len(source):
        raise DataError(
            f"there are {format_count(len(source), 'row')} and {format_count(len(targets), 'target')}: give one "
            "target a row"
        )
    return targets.to(source.device)


def grouped(items: Iterator[T], count: int) -> Iterator[list[T]]:
    """Yield `items` in lists of `count`, the last one perhaps shorter; one list is held at a time."""
    while some := list(islice(items, count)):
        yield some


def split_batch(batch: Batch, count: int) -> list[Batch]:
    """Return a batch in `count` batches of equally many rows."""
    rows = len(batch.inputs[0]) // count
    sizes = [rows] * count
    inputs = zip(*[tensor.split_with_sizes(sizes) for tensor in batch.inputs], strict=True)
    labels = [None] * count if batch.targets is None else batch.targets.split_with_sizes(sizes)
    return [Batch(tuple(some), label) for some, label in zip(inputs, labels, strict=True)]

"""Batches: which rows, in which order, and gathering them from where they lie."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice, repeat
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from reuse.data.windows import Windows
from reuse.errors import DataError, UsageError
from reuse.objectives.objective import Batch
from reuse.seeding import generator

T = TypeVar("T")


class Source(Protocol):
    """Rows that can be gathered by number: resident tensors, cached activations, images read as they are asked for."""

    @property
    def device(self) -> torch.device:
        """Where `gather` takes row numbers and gives rows."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the rows `indices` (int64, on `device`) of each input, each `(len(indices), ...)`."""
        ...


@runtime_checkable
class Ordered(Source, Protocol):
    """Rows that are read faster when it is known in which order they will be asked for."""

    def in_order(self, order: Tensor) -> "Opened":
        """Return the same rows, to be gathered in the order of the row numbers `order`."""
        ...


@runtime_checkable
class Changing(Source, Protocol):
    """Rows that training reads in another version in each epoch."""

    @property
    def plain(self) -> Source:
        """The rows as they are, which is what is gathered and measured."""
        ...

    def in_epoch(self, number: int) -> Source:
        """Return the version of epoch `number`, from 1: as many rows, in the same order."""
        ...


class Opened(Source, Protocol):
    """Rows that are being read."""

    def close(self) -> None:
        """Stop reading."""
        ...


class Resident:
    """Tensors that lie on one device as a whole, the fastest source there is.

    Args:
        tensors: one for each input of the network, each `(rows, ...)`.

    Raises:
        DataError: there are none, or they differ in rows or device.
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise DataError("a source needs at least one tensor, and there is none")
        if len({(len(tensor), tensor.device) for tensor in tensors}) != 1:
            found = ", ".join(f"{len(tensor)} on {tensor.device}" for tensor in tensors)
            raise DataError(
                f"the tensors of a source must have the same rows on the same device, and they have {found}"
            )
        self.tensors = tensors

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.tensors[0].device

    def __len__(self) -> int:
        return len(self.tensors[0])

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the rows `indices` of each tensor."""
        return tuple([tensor.index_select(0, indices) for tensor in self.tensors])


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


def rows_of_epoch(source: Source, number: int) -> Source:
    """Return what training reads in epoch `number`: the rows, or a version of them."""
    return source.in_epoch(number) if isinstance(source, Changing) else source


def windows_of(source: Source) -> Windows | None:
    """Return how an epoch of the rows is shuffled where that is not rows at random, as they do not fit into memory."""
    windows = getattr(source, "windows", None)
    assert windows is None or isinstance(windows, Windows)
    return windows


@contextmanager
def read_in_order(source: Source, order: Tensor) -> Iterator[Source]:
    """Give the rows, read ahead while the block runs where that is faster.

    Args:
        source: the rows.
        order: their numbers in the order in which they will be asked for.
    """
    source = source.plain if isinstance(source, Changing) else source
    if not isinstance(source, Ordered):
        yield source
        return
    with closing(source.in_order(order)) as opened:
        yield opened


def batches(
    source: Source, targets: Tensor | None, order: Tensor, sizes: list[int], device: torch.device
) -> Iterator[Batch]:
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


def beside(source: Source, targets: Tensor | None) -> Tensor | None:
    """Return `targets` on the source's device.

    Raises:
        DataError: there are not as many targets as rows.
    """
    if targets is None:
        return None
    if len(targets) != len(source):
        raise DataError(f"there are {len(source)} rows and {len(targets)} targets: give one target a row")
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

"""Rows that a trainer reads: the protocol that they follow, and the forms that they come in."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from reuse.data.windows import Windows
from reuse.errors import DataError


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, as the network takes them.

    Attributes:
        inputs: the model's inputs, or the frontier tensors of a cut, each `(batch, ...)`.
        targets: values that the rows should give, `(batch, ...)`; None where the data has no labels.
    """

    inputs: tuple[Tensor, ...]
    targets: Tensor | None = None


class Rows(Protocol):
    """Rows that can be gathered by number: resident tensors, cached activations, images read as they are asked for."""

    @property
    def device(self) -> torch.device:
        """The device on which `gather` takes row numbers and gives rows."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the rows `indices` (int64, on `device`) of each input, each `(len(indices), ...)`."""
        ...


@runtime_checkable
class OrderedRows(Rows, Protocol):
    """Rows that are read faster when it is known in which order they will be asked for."""

    def in_order(self, order: Tensor) -> "OpenRows":
        """Return the same rows, to be gathered in the order of the row numbers `order`."""
        ...


@runtime_checkable
class ChangingRows(Rows, Protocol):
    """Rows that training reads in another version in each epoch."""

    @property
    def plain(self) -> Rows:
        """The rows as they are, which is what is gathered and measured."""
        ...

    @property
    def computed(self) -> int:
        """The number of versions that were computed since training began."""
        ...

    def in_epoch(self, number: int) -> Rows:
        """Return the version of epoch `number`, from 1: as many rows, in the same order."""
        ...

    def close(self) -> list[str]:
        """Stop what is computed in the background; return what had failed there, in lines."""
        ...


class OpenRows(Rows, Protocol):
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
        """The device on which the tensors lie."""
        return self.tensors[0].device

    def __len__(self) -> int:
        return len(self.tensors[0])

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the rows `indices` of each tensor."""
        return tuple([tensor.index_select(0, indices) for tensor in self.tensors])


class Picked:
    """Some rows of another source.

    Args:
        source: the other.
        rows: their numbers, int64, on its device.
    """

    def __init__(self, source: Rows, rows: Tensor) -> None:
        self.source, self.rows, self.device = source, rows, source.device

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the rows `indices` of these."""
        return self.source.gather(self.rows.index_select(0, indices))


class Converted:
    """Rows of another source in other types, converted as they are read.

    Args:
        source: the rows.
        dtypes: one type for each of its tensors; whole numbers (tokens, lengths) stay what they are.
    """

    def __init__(self, source: Rows, dtypes: tuple[torch.dtype, ...]) -> None:
        self.source, self.dtypes, self.device = source, dtypes, source.device
        self.windows = windows_of(source)

    def __len__(self) -> int:
        return len(self.source)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the rows `indices` in the types asked for."""
        pairs = zip(self.source.gather(indices), self.dtypes, strict=True)
        return tuple([tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor, dtype in pairs])

    def in_order(self, order: Tensor) -> "ConvertedInOrder":
        """Return the same rows, which will be gathered in the order of the row numbers `order`."""
        return ConvertedInOrder(self, order)


class ConvertedInOrder(Converted):
    """Rows of another source in other types, which are read ahead in an order that is known.

    Args:
        rows: the rows.
        order: their numbers in the order in which they will be asked for.
    """

    def __init__(self, rows: Converted, order: Tensor) -> None:
        self._reading = ExitStack()
        super().__init__(self._reading.enter_context(read_in_order(rows.source, order)), rows.dtypes)

    def close(self) -> None:
        """Stop reading."""
        self._reading.close()


def rows_of_epoch(source: Rows, number: int) -> Rows:
    """Return what training reads in epoch `number`: the rows, or a version of them."""
    return source.in_epoch(number) if isinstance(source, ChangingRows) else source


def windows_of(source: Rows) -> Windows | None:
    """Return how an epoch of the rows is shuffled where that is not rows at random, as they do not fit into memory."""
    windows = getattr(source, "windows", None)
    assert windows is None or isinstance(windows, Windows)
    return windows


@contextmanager
def read_in_order(source: Rows, order: Tensor) -> Iterator[Rows]:
    """Give the rows, read ahead while the block runs where that is faster.

    Args:
        source: the rows.
        order: their numbers in the order in which they will be asked for.
    """
    source = source.plain if isinstance(source, ChangingRows) else source
    if not isinstance(source, OrderedRows):
        yield source
        return
    with closing(source.in_order(order)) as opened:
        yield opened

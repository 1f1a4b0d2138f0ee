"""Forms in which values cross from prefix to suffix.

Only tensors with the batch in one dimension can be stored row by row. Everything else that the suffix needs of the
prefix is made again there: sizes from the batch size of the frontier, numbers and None as they are, tensors without a
batch from a copy stored once; what cannot be made so is computed in the suffix.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from reuse.layers.constancy import rows_dimension, same_values


class NotStorable(Exception):  # noqa: N818 - a signal between two functions, not an error of the user's
    """Signal that a value cannot cross the frontier."""


@dataclass(frozen=True)
class BatchDimension:
    """A tensor that is stored: its dimension `dimension` holds `fold` elements for each row.

    Attributes:
        dimension: the dimension.
        fold: the elements of a row in it.
        in_turns: whether all rows come there `fold` times, as where views of them are laid end to end; else the
            elements of a row lie side by side.
    """

    dimension: int
    fold: int
    in_turns: bool = False

    def parted(self, rows: int) -> tuple[int, int]:
        """Return the sizes of the two dimensions that it is divided into: rows and elements, in their order."""
        return (self.fold, rows) if self.in_turns else (rows, self.fold)

    def divided(self, tensor: Tensor, rows: int) -> Tensor:
        """Return a tensor of so many rows with the dimension divided in two."""
        divided: Tensor = tensor.unflatten(self.dimension, self.parted(rows))  # type: ignore[no-untyped-call]
        return divided

    @property
    def of_rows(self) -> int:
        """The dimension that holds one element for each row once it is divided."""
        return self.dimension + self.in_turns


@dataclass(frozen=True)
class Repeated:
    """A tensor that is the same in every row, whatever the inputs: one row is stored once.

    Attributes:
        row: the tensor, with one element in the dimension of the rows.
        dimension: that dimension.
    """

    row: Tensor
    dimension: int


@dataclass(frozen=True)
class Same:
    """A tensor that another node has crossed with."""

    node: fx.Node


@dataclass(frozen=True)
class BatchSize:
    """An integer that is `factor` times the number of rows."""

    factor: int


@dataclass(frozen=True)
class Constant:
    """A value that is the same for every batch: a number, a type, None, or a tensor stored once."""

    value: Any


@dataclass(frozen=True)
class Shape:
    """A `torch.Size` of integers that are the same for every batch or follow the batch size."""

    parts: tuple[Any, ...]


Form = BatchDimension | Repeated | Same | BatchSize | Constant | Shape | list[Any] | tuple[Any, ...] | dict[str, Any]


def crossing_form(small: Any, large: Any, rows: tuple[int, int]) -> Form:
    """Return the form in which a value crosses, from what it was on a smaller and on a larger batch.

    Args:
        small: the value on `rows[0]` rows.
        large: the value on `rows[1]` rows, the first of which are those of `small`.
        rows: the two batch sizes.

    Raises:
        NotStorable: the value has no such form.
    """
    if isinstance(small, Tensor) and isinstance(large, Tensor):
        return _tensor_form(small, large, rows)
    if type(small) in (list, tuple, torch.Size) and type(small) is type(large) and len(small) == len(large):
        parts = [crossing_form(a, b, rows) for a, b in zip(small, large, strict=True)]
        if isinstance(small, torch.Size):
            return Shape(tuple(parts))
        return parts if isinstance(small, list) else tuple(parts)
    if isinstance(small, dict) and isinstance(large, dict) and small.keys() == large.keys():
        return {key: crossing_form(small[key], large[key], rows) for key in small}
    if type(small) is int and type(large) is int and small != large:
        factor, rest = divmod(small, rows[0])
        if rest or large != factor * rows[1]:
            raise NotStorable
        return BatchSize(factor)
    if isinstance(small, PLAIN) and type(small) is type(large) and small == large:
        return Constant(small)
    raise NotStorable


def without_values(large: Any, form: Form) -> Form:
    """Return the form of a value that does not depend on what the inputs hold, only on how many rows there are.

    Raises:
        NotStorable: its rows differ by their places in the batch, which are others in the next one.
    """
    if not isinstance(form, BatchDimension):
        return form
    first = large.narrow(form.dimension, 0, 1)
    if form.fold != 1 or not torch.equal(large, first.expand_as(large)):
        raise NotStorable
    return Repeated(first, form.dimension)


PLAIN = (int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format, slice)


def _tensor_form(small: Tensor, large: Tensor, rows: tuple[int, int]) -> Form:
    if small.shape == large.shape:
        if same_values(small, large):
            return Constant(small)
        raise NotStorable
    found = rows_dimension(small, large, rows)
    if found is None:
        raise NotStorable
    dimension, fold = found
    forms = [BatchDimension(dimension, fold), BatchDimension(dimension, fold, in_turns=True)]
    for form in forms[: min(fold, 2)]:
        few, many = form.divided(small, rows[0]), form.divided(large, rows[1])
        if same_values(few, many.narrow(form.of_rows, 0, rows[0])):
            return form
    raise NotStorable  # rows do not lie in that dimension in either order

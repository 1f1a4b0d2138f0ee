"""The layout of a row of inputs: the tensors that a model is given of each row, and how it is called with them."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reuse.devices import dtype_name


@dataclass(frozen=True)
class RowTensor:
    """One tensor of a row.

    Attributes:
        name: the argument of `forward` that takes it; empty: it is given by its position.
        shape: of one row.
        kind: name of its type, such as `float32` or `int64`.
    """

    name: str
    shape: tuple[int, ...]
    kind: str

    @classmethod
    def of(cls, name: str, rows: Tensor) -> "RowTensor":
        """Return what one row of a tensor `(rows, ...)` is."""
        return cls(name, tuple(rows.shape[1:]), dtype_name(rows.dtype))

    @property
    def dtype(self) -> torch.dtype:
        """The type of torch."""
        dtype = getattr(torch, self.kind)
        assert isinstance(dtype, torch.dtype)
        return dtype

    def __str__(self) -> str:
        return f"{self.name} {self.shape}".lstrip()


@dataclass(frozen=True)
class InputNames:
    """Names of the inputs of a model's `forward`.

    Attributes:
        names: of all, in order.
        required: those of them without a default.
        takes_any: whether it takes inputs of any other name.
    """

    names: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    takes_any: bool = False

    @classmethod
    def of(cls, forward: Callable[..., Any]) -> "InputNames":
        """Return the names of a function's parameters."""
        every = inspect.signature(forward).parameters.values()
        named = [own for own in every if own.kind in (own.POSITIONAL_OR_KEYWORD, own.KEYWORD_ONLY)]
        required = tuple([own.name for own in named if own.default is own.empty])
        return cls(tuple([own.name for own in named]), required, any(own.kind is own.VAR_KEYWORD for own in every))

    def __contains__(self, name: str) -> bool:
        return self.takes_any or name in self.names

    def lacking(self, given: Iterable[str]) -> list[str]:
        """Return the names that a call with some others must have too."""
        return [name for name in self.required if name not in set(given)]


Layout = tuple[RowTensor, ...]
"""The tensors of a row, in order."""


def one_tensor(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Layout:
    """Return the layout of rows of one tensor."""
    return (RowTensor("", shape, dtype_name(dtype)),)


def is_several(layout: Layout) -> bool:
    """Return whether a model is called otherwise than with one tensor by position."""
    return len(layout) > 1 or bool(layout and layout[0].name)


def names_of(layout: Layout) -> tuple[str, ...]:
    """Return the arguments that take the tensors of a row; empty where they are given by position."""
    return tuple(tensor.name for tensor in layout if tensor.name)


def as_arguments(layout: Layout, tensors: Sequence[Tensor]) -> dict[str, Tensor] | tuple[Tensor, ...]:
    """Return tensors as `reuse.cut` takes an example: by name, or by position."""
    names = names_of(layout)
    return dict(zip(names, tensors, strict=True)) if names else tuple(tensors)


def empty_rows(layout: Layout, rows: int, like: Tensor | None = None) -> tuple[Tensor, ...]:
    """Return rows of zeros.

    Args:
        layout: of a row.
        rows: how many.
        like: a tensor in whose floating point type, and on whose device, they are; None: their own, on the CPU.
    """
    dtypes = [t.dtype if like is None or not t.dtype.is_floating_point else like.dtype for t in layout]
    pairs = zip(layout, dtypes, strict=True)
    return tuple(torch.zeros(rows, *t.shape, dtype=d, device=None if like is None else like.device) for t, d in pairs)


def called(function: Any, layout: Layout, tensors: Sequence[Tensor]) -> Any:
    """Return what a model makes of some rows."""
    names = names_of(layout)
    return function(**dict(zip(names, tensors, strict=True))) if names else function(*tensors)

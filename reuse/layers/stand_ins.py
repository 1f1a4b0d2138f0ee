"""Tensors that stand in for others, whose values are not at hand or not to be read unnoticed."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map


class StandIn(Tensor):
    """A tensor of a shape, type and device, whose values are fetched when an operation reads or writes them."""

    fetch: Callable[[], Tensor]
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(
        cls: type["StandIn"],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        fetch: Callable[[], Tensor],
    ) -> "StandIn":
        """Return one; `fetch` returns its values, or raises."""
        made: StandIn = Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=device)
        made.fetch = fetch
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Run an operation on the values."""
        given, named = fetched((args, kwargs or {}))
        return func(*given, **named)

    def numpy(self, **settings: Any) -> Any:
        """Return the values as an array."""
        return self.fetch().numpy(**settings)

    def tolist(self) -> Any:
        """Return the values as numbers in lists."""
        return self.fetch().tolist()

    def __array__(self, *arguments: Any, **settings: Any) -> Any:
        return np.asarray(self.fetch(), *arguments, **settings)

    def __format__(self, specification: str) -> str:
        return format(self.fetch(), specification)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return deepcopy(self.fetch(), memo)

    def data_ptr(self) -> int:
        """Return where the values lie."""
        return self.fetch().data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        """Return the memory of the values."""
        return self.fetch().untyped_storage()

    def __dlpack__(self, **settings: Any) -> Any:
        return self.fetch().__dlpack__(**settings)


def fetched(value: Any) -> Any:
    """Return a value with the values of stand-ins in place of them."""
    return tree_map(lambda part: part.fetch() if isinstance(part, StandIn) else part, value)

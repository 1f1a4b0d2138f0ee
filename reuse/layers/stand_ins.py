"""Tensors that stand in for others, whose values are not at hand or not to be read unnoticed; and tensors by number."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from reuse.layers.crossing import PLAIN
from reuse.layers.structure import children, leaves, map_tensors, mapped


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


class Number:
    """A place that a tensor takes, by the tensor's number."""

    def __init__(self, at: int):
        self.at = at

    def __repr__(self) -> str:
        return f"tensor {self.at}"


def with_tensors(of_number: Callable[[int], Any], value: Any) -> Any:
    """Return a value with what a function makes of a tensor's number in the place of each."""
    return mapped(lambda part: of_number(part.at) if isinstance(part, Number) else part, value)


def text_of(value: Any) -> str:
    """Return a text that tells a value of numbers and plain values from others: containers by type, keys and parts."""
    held = children(value)
    if held is None:
        return repr(value)
    keys = list(value) if isinstance(value, Mapping) else ""
    return f"{type(value).__qualname__}{keys}({', '.join(map(text_of, held[0]))})"


class NumberedTensors:
    """Tensors that were handed out by number, as long as they hold what they held, in the mode that they are from."""

    def __init__(self) -> None:
        self._handed: dict[int, tuple[Tensor, int, Tensor | None, Tensor | None]] = {}
        self._mode = _mode()

    def hand_out(
        self, number: int, tensor: Tensor, values: Tensor | None = None, stored: Tensor | None = None
    ) -> Tensor:
        """Return a tensor, and know it from then on by its number.

        Args:
            number: the number.
            tensor: the tensor.
            values: where its values are: itself, or what it stands in for; None: nowhere, so that nobody changes them.
            stored: what they are to be.
        """
        self._handed[id(tensor)] = tensor, number, values, stored
        return tensor

    def forget(self) -> None:
        """Let go of all of them."""
        self._handed.clear()

    def places(self, value: Any) -> Any:
        """Return a value with numbers in place of its tensors.

        None where it holds a tensor that was not handed out, or is another one by now, or anything but tensors and
        plain values.
        """
        parts = leaves(value)
        tensors = [part for part in parts if isinstance(part, Tensor)]
        plain = all(isinstance(part, (Tensor, *PLAIN)) for part in parts)
        if not plain or not tensors or not all(map(self._is_as_it_was, tensors)) or _mode() != self._mode:
            return None
        return map_tensors(lambda tensor: Number(self._handed[id(tensor)][1]), value)

    def _is_as_it_was(self, tensor: Tensor) -> bool:
        if id(tensor) not in self._handed or tensor.requires_grad:
            return False
        _, _, values, stored = self._handed[id(tensor)]
        return values is None or stored is None or same_numbers(values, stored)


def same_numbers(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors hold the same numbers; not a number is the same as itself."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def _mode() -> tuple[Any, ...]:
    """Return what changes how layers compute and is no state of theirs."""
    kinds = ("cpu", "cuda")
    autocast = [(torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds]
    return *autocast, torch.is_inference_mode_enabled()

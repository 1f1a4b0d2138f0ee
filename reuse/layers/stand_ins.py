"""Tensors that stand in for others, whose values are not at hand or not to be read unnoticed; and tensors by number."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from reuse.layers.crossing import PLAIN
from reuse.layers.structure import leaves, map_tensors, mapped, tensors_in


class StandIn(Tensor):
    """A tensor of a shape, type and device, whose values are fetched when an operation reads or writes them."""

    fetch: Callable[[], Tensor]
    written = False  # whether an operation has written into its values, or may have
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
        if func._schema.is_mutable:
            for part in tensors_in(list(args)):
                if isinstance(part, StandIn):
                    part.written = True
        given, named = fetched((args, kwargs or {}))
        return func(*given, **named)


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


class NumberedTensors:
    """Tensors by number, as long as nothing was written into them and they are used in the mode that they are from.

    Attributes:
        tensors: the tensors, by number.
    """

    def __init__(self, tensors: Iterable[Tensor] = ()):
        self.tensors: list[Tensor] = []
        self._known: dict[int, tuple[int, Tensor, int]] = {}
        self._mode = _mode()
        for tensor in tensors:
            self.add(tensor, tensor)

    def add(self, tensor: Tensor, values: Tensor) -> Number:
        """Number a tensor; `values` is what a write into it moves: itself, or what it stands in for."""
        self._known[id(tensor)] = len(self.tensors), values, _version(values)
        self.tensors.append(tensor)
        return Number(len(self.tensors) - 1)

    def places(self, value: Any) -> Any:
        """Return a value with numbers in place of its tensors.

        None where it holds a tensor that has no number, or was written into, or anything but tensors and plain values.
        """
        parts = leaves(value)
        tensors = [part for part in parts if isinstance(part, Tensor)]
        plain = all(isinstance(part, (Tensor, *PLAIN)) for part in parts)
        if not plain or not tensors or not all(map(self._is_as_it_was, tensors)) or _mode() != self._mode:
            return None
        return map_tensors(lambda tensor: Number(self._known[id(tensor)][0]), value)

    def _is_as_it_was(self, tensor: Tensor) -> bool:
        if id(tensor) not in self._known or (isinstance(tensor, StandIn) and tensor.written):
            return False
        _, values, version = self._known[id(tensor)]
        return _version(values) == version


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _mode() -> tuple[Any, ...]:
    """Return what changes how layers compute and is no state of theirs."""
    kinds = ("cpu", "cuda")
    autocast = [(torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds]
    return *autocast, torch.is_inference_mode_enabled()

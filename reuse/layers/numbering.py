"""Tensors by number: those that a forward is given, and those that its layers return."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from reuse.layers.crossing import PLAIN
from reuse.layers.structure import children, leaves, map_tensors, mapped


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

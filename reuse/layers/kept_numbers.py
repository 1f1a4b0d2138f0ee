"""Copies of the numbers of tensors, kept from one forward to the next, by which writes show that torch does not count.

A tensor is copied anew where it is another object, lies on another device, has another type or was written into in a
way that torch counts, as by loading a state: all of that is seen without its numbers.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor

State = tuple[Any, ...]


class Numbers(NamedTuple):
    """A tensor, in which state it was when it was copied, and its numbers then."""

    tensor: Tensor
    state: State
    copy: Tensor


class KeptNumbers:
    """The numbers of the tensors of some layers; copies and pickles of this hold none."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Numbers]] = {}

    def of(self, layer: str, tensors: Iterable[Tensor]) -> list[Numbers]:
        """Return what the tensors of a layer held when they came into the state that they are in.

        Args:
            layer: its name; what it held before and holds no longer is let go of.
            tensors: those that it holds now.
        """
        known = {id(one.tensor): one for one in self._kept.get(layer, ())}
        self._kept[layer] = [_still(known.get(id(tensor)), tensor) for tensor in tensors]
        return self._kept[layer]

    def __reduce__(self) -> tuple[type["KeptNumbers"], tuple[()]]:
        return KeptNumbers, ()


def version(tensor: Tensor) -> int:
    """Return how often a tensor was written into; 0 where torch does not count it."""
    return 0 if tensor.is_inference() else tensor._version


def _still(known: Numbers | None, tensor: Tensor) -> Numbers:
    state = version(tensor), tensor.device, tensor.dtype, tensor.shape
    if known is not None and known.state == state:
        return known
    return Numbers(tensor, state, tensor.detach().clone())

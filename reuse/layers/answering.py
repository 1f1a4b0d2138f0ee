"""Answering the calls of a model's layers in their place, as long as these are what they were."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from operator import is_
from threading import RLock
from types import MethodType
from typing import Any

from torch import Tensor, nn

from reuse.layers.preserving import CONTAINERS

Answer = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Function that answers a call of a layer: its name, its forward, arguments and keywords."""

_TURN = RLock()  # the forward of a layer is one for all threads


@contextmanager
def answered_by(model: nn.Module, names: Collection[str], answer: Answer) -> Iterator[None]:
    """Let calls of these layers be answered inside the block, in place of running their forward."""
    kept: list[tuple[dict[str, Any], Any]] = []
    with _TURN:
        try:
            for name in names:
                module = model.get_submodule(name)
                patch = _Answered(name, module, answer)
                kept.append((vars(module), vars(module).get("forward")))
                vars(module)["forward"] = patch
            yield
        finally:
            for attributes, forward in kept:
                attributes.pop("forward", None)
                if forward is not None:
                    attributes["forward"] = forward


class _Answered:
    """What stands for the forward of a layer: it asks for an answer unless the layer was changed."""

    def __init__(self, name: str, module: nn.Module, answer: Answer):
        self.name, self.module, self.answer = name, module, answer
        self.forward, self.parts = module.forward, HeldParts(module)
        self.__wrapped__ = module.forward  # whose signature this has

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.parts.changed():
            return self.forward(*args, **kwargs)
        return self.answer(self.name, self.forward, args, kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., Any]:
        """Return the forward of a copy of the layer, which nobody answers for."""
        copy = memo.get(id(self.module))
        return self.forward if copy is None else MethodType(type(self.module).forward, copy)


class HeldParts:
    """What a layer and those in it hold: attributes, weights, buffers, and what lists and dictionaries among them hold.

    Values are compared as objects, and weights by how often they were written into: one written into by its `data` is
    not seen.
    """

    def __init__(self, module: nn.Module):
        self.module = module
        self.held, self.versions = self._now()

    def changed(self) -> bool:
        """Return whether anything was assigned, put in or taken out, or written into since."""
        held, versions = self._now()
        return len(held) != len(self.held) or versions != self.versions or not all(map(is_, held, self.held))

    def _now(self) -> tuple[list[Any], list[int]]:
        held: list[Any] = []
        for module in self.module.modules():
            for name, value in vars(module).items():
                if name != "forward":
                    held.append(value)
                    if isinstance(value, dict):
                        held += value.values()
                    elif isinstance(value, (tuple, *CONTAINERS)):
                        held += value
        return held, [_version(value) for value in held if isinstance(value, Tensor)]


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was written into; 0 where torch does not count it."""
    return 0 if tensor.is_inference() else tensor._version

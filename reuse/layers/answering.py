"""Answering the calls of a model's layers in their place, as long as these are what they were."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from operator import is_
from threading import RLock
from types import MethodType
from typing import Any

from torch import Tensor, nn

from reuse.layers.kept_numbers import KeptNumbers, version
from reuse.layers.numbering import same_numbers
from reuse.layers.preserving import CONTAINERS

Answer = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Function that answers a call of a layer: its name, its forward, arguments and keywords."""

_TURN = RLock()  # the forward of a layer is one for all threads


@contextmanager
def answered_by(
    model: nn.Module, names: Collection[str], answer: Answer, kept_numbers: KeptNumbers | None = None
) -> Iterator[list["HeldParts"]]:
    """Let calls of these layers be answered inside the block, in place of running their forward.

    Args:
        model: the model.
        names: of the layers.
        answer: answers a call.
        kept_numbers: where layers may be written into without torch counting it: what they held before, by which they
            are compared.

    Yields:
        What the layers hold.
    """
    layers: list[HeldParts] = []
    kept: list[tuple[dict[str, Any], Any]] = []
    with _TURN:
        try:
            for name in names:
                module = model.get_submodule(name)
                layers.append(HeldParts(module, name, kept_numbers))
                patch = _Answered(name, module, answer, layers[-1])
                kept.append((vars(module), vars(module).get("forward")))
                vars(module)["forward"] = patch
            yield layers
        finally:
            for attributes, forward in kept:
                attributes.pop("forward", None)
                if forward is not None:
                    attributes["forward"] = forward


class _Answered:
    """What stands for the forward of a layer: it asks for an answer unless the layer was changed."""

    def __init__(self, name: str, module: nn.Module, answer: Answer, parts: "HeldParts"):
        self.name, self.module, self.answer = name, module, answer
        self.forward, self.parts = module.forward, parts
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

    Values are compared as objects, and tensors by how often they were written into.

    Args:
        module: the layer.
        name: of the layer.
        kept_numbers: by which tensors are compared by their numbers too: one that is written into by its `data` is not
            counted.
    """

    def __init__(self, module: nn.Module, name: str = "", kept_numbers: KeptNumbers | None = None):
        self.module = module
        self.held, self.versions = self._now()
        tensors = (value for value in self.held if isinstance(value, Tensor))
        self._numbers = [] if kept_numbers is None else kept_numbers.of(name, tensors)

    def changed(self) -> bool:
        """Return whether anything was assigned, put in or taken out, or written into since."""
        held, versions = self._now()
        if len(held) != len(self.held) or versions != self.versions or not all(map(is_, held, self.held)):
            return True
        return not all(same_numbers(tensor.detach(), copy) for tensor, _, copy in self._numbers)

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
        return held, [version(value) for value in held if isinstance(value, Tensor)]

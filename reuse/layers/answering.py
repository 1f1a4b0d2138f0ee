"""Answering the calls of a model's layers in their place, as long as these are what they were."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import chain
from threading import RLock
from types import MethodType
from typing import Any

from torch import Tensor, nn

from reuse.layers.crossing import PLAIN

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
        self.forward, self.state = module.forward, _state(module)
        self.__wrapped__ = module.forward  # whose signature this has

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _state(self.module) != self.state:
            return self.forward(*args, **kwargs)
        return self.answer(self.name, self.forward, args, kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., Any]:
        """Return the forward of a copy of the layer, which nobody answers for."""
        copy = memo.get(id(self.module))
        return self.forward if copy is None else MethodType(type(self.module).forward, copy)


def _state(module: nn.Module) -> list[Any]:
    """Return what tells whether a layer has other weights, modes or settings than before."""
    tensors = [(id(tensor), version(tensor)) for tensor in chain(module.parameters(), module.buffers())]
    plain = [(name, value) for name, value in vars(module).items() if isinstance(value, PLAIN)]
    return [*tensors, *plain, *(one.training for one in module.modules())]


def version(tensor: Tensor) -> int:
    """Return how often a tensor was written into; 0 where torch does not count it."""
    return 0 if tensor.is_inference() else tensor._version

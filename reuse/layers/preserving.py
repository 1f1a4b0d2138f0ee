"""Leaving a model as it was, whatever its forward moves: buffers, attributes, parameters, modes, random numbers."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reuse.layers.randomness import RandomSources
from reuse.seeding import untouched_random_state


@contextmanager
def unchanged_state(model: nn.Module, parameters: Iterable[nn.Parameter] = ()) -> Iterator[None]:
    """Put back what the block moves: buffers, attributes, modes, random states, and these parameters.

    Args:
        model: the model.
        parameters: those that its forward writes into, as a momentum teacher does.
    """
    kept = [_Kept(module) for module in model.modules()]
    tensors = [(tensor, tensor.detach().clone()) for tensor in (*_buffers(model), *parameters)]
    with RandomSources(model).untouched():
        try:
            yield
        finally:
            for one in kept:
                one.put_back()
            with torch.no_grad():
                for tensor, value in tensors:
                    tensor.copy_(value)


@contextmanager
def living_branches(model: nn.Module) -> Iterator[None]:
    """Fill trainable parameters that are all zero with small numbers inside the block.

    A fresh residual branch often ends in a scale of zero, behind which any error would hide until training opens it.
    """
    zeros = [p for p in model.parameters() if p.requires_grad and not p.detach().any()]
    with torch.no_grad(), untouched_random_state():
        for parameter in zeros:
            parameter.normal_(0.0, 0.1)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter in zeros:
                parameter.zero_()


@contextmanager
def untouched_attributes(model: nn.Module, unless_finished: bool = False) -> Iterator[None]:
    """Put back what the block assigns to the modules of a model, or puts into their lists and dictionaries.

    Args:
        model: the model.
        unless_finished: only where the block fails.
    """
    kept = [_Kept(module) for module in model.modules()]
    finished = False
    try:
        yield
        finished = unless_finished
    finally:
        for one in () if finished else kept:
            one.put_back()


class Modes:
    """The modes in which the modules of a model are, to compare them and to put them back."""

    def __init__(self, model: nn.Module):
        self._kept = [(name, module, module.training) for name, module in model.named_modules()]

    def switched(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the modules that are in the other mode now."""
        return ((name, module) for name, module, training in self._kept if module.training is not training)

    def put_back(self) -> None:
        """Switch these back, and no module below them."""
        for _, module in list(self.switched()):
            module.training = not module.training


def contents(value: Any) -> Any:
    """Return a shallow copy of a container that can change in place; any other value as it is."""
    return value.copy() if isinstance(value, CONTAINERS) else value


CONTAINERS = (list, dict, set, deque)


class _Kept:
    """The attributes of one module, which buffers and parameters it has, where these lie and whether they train."""

    def __init__(self, module: nn.Module):
        self.module = module
        self.attributes = dict(vars(module))
        self.is_script = isinstance(module, torch.jit.ScriptModule)  # whose tables are not Python's
        self.buffers = {} if self.is_script else dict(module._buffers)
        self.parameters = {} if self.is_script else dict(module._parameters)
        self.memory = [(p, p.data, p.requires_grad) for p in module.parameters(recurse=False)]
        own = ((name, value) for name, value in self.attributes.items() if name not in _TABLES)
        self.contents = [(value, contents(value)) for _, value in own if isinstance(value, CONTAINERS)]

    def put_back(self) -> None:
        attributes = vars(self.module)
        if not self.is_script:
            _refill(attributes, self.attributes)
            _refill(self.module._buffers, self.buffers)
            _refill(self.module._parameters, self.parameters)
        for value, content in self.contents:
            value.clear()
            (value.extend if isinstance(value, list | deque) else value.update)(content)
        for parameter, data, trains in self.memory:
            if parameter.data_ptr() != data.data_ptr():
                parameter.data = data
            if parameter.requires_grad != trains:
                parameter.requires_grad = trains


_TABLES = frozenset(vars(nn.Module()))


def _refill(table: dict[str, Any], wanted: dict[str, Any]) -> None:
    if len(table) != len(wanted) or any(table.get(name, table) is not value for name, value in wanted.items()):
        table.clear()
        table.update(wanted)


def _buffers(model: nn.Module) -> list[Tensor]:
    return [buffer for module in model.modules() for buffer in module.buffers(recurse=False)]

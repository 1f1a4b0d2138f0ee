"""Writes of a forward into parameters, which a momentum teacher does: found, and put back."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from reuse.layers.structure import tensors_in


@contextmanager
def written_parameters(model: nn.Module) -> Iterator[list[nn.Parameter]]:
    """Yield a list that holds, at the end of the block, the parameters that it moved; their values are put back."""
    watching = _CopyOnWrite(model)
    memory = [(parameter, parameter.data) for parameter in model.parameters()]
    found: list[nn.Parameter] = []
    with watching:
        yield found
    for parameter, data in memory:
        if parameter.data_ptr() != data.data_ptr():
            parameter.data = data
            found.append(parameter)
    for parameter, value in watching.copies.values():
        parameter.data.copy_(value)
        found.append(parameter)
    found[:] = list({id(parameter): parameter for parameter in found}.values())


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """See each operation, without torch's compiler: what is to be done at one stands in `see`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return that torch need not import its compiler to keep it out of here: where it is there, `__init__` does."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run: Callable[..., Any] = self._run
        if "torch._dynamo" in sys.modules:
            self.run = torch.compiler.disable(self._run)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        return self.run(func, args, kwargs or {})

    def see(self, func: Any, args: Any, kwargs: Any) -> None:
        """See an operation that is about to run."""
        raise NotImplementedError

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        self.see(func, args, kwargs)
        return func(*args, **kwargs)


class _CopyOnWrite(Watch):  # type: ignore[no-untyped-call]
    """Watch over the parameters of a model: the first operation that writes into one has its values copied before.

    Writes through `.data` do not count in a tensor's version, so only the operations themselves tell.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.parameters = {_memory(parameter): parameter for parameter in model.parameters()}
        self.copies: dict[int, tuple[nn.Parameter, Tensor]] = {}

    def see(self, func: Any, args: Any, kwargs: Any) -> None:
        """Copy what an operation is about to write into."""
        if func._schema.is_mutable:
            for number, argument in enumerate(func._schema.arguments):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    given = args[number] if number < len(args) else kwargs.get(argument.name)
                    self._copy(given)

    def _copy(self, given: Any) -> None:
        for tensor in tensors_in(given):
            key = _memory(tensor)
            parameter = self.parameters.get(key)
            if parameter is not None and key not in self.copies:
                self.copies[key] = parameter, parameter.data.clone()


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() or id(tensor)

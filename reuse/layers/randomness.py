"""All that a model may draw random numbers from: the global generators, and those that its modules hold themselves."""

import inspect
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from reuse.fingerprinting.digests import attribute_names
from reuse.seeding import random_state, set_random_state

States = tuple[Any, ...]


class RandomSources:
    """The generators of torch, NumPy and Python, those among a model's attributes, and globals its methods name."""

    def __init__(self, model: nn.Module):
        modules = list(model.modules())
        found = [value for module in modules for value in _attributes(module)]
        found += [names[name] for kind in set(map(type, modules)) for names, name in _globals(kind) if name in names]
        self.own = {id(value): value for value in found if isinstance(value, _OWN)}

    def states(self) -> States:
        """Return the states of all of them."""
        state = random_state()
        own = tuple(_state(generator) for generator in self.own.values())
        return state["cpu"], state.get("cuda"), np.random.get_state(), random.getstate(), *own  # noqa: NPY002

    def restore(self, states: States) -> None:
        """Put the states back that `states` returned."""
        set_random_state({"cpu": states[0]} if states[1] is None else {"cpu": states[0], "cuda": states[1]})
        np.random.set_state(states[2])  # noqa: NPY002
        random.setstate(states[3])
        for generator, state in zip(self.own.values(), states[4:], strict=True):
            _restore(generator, state)

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Leave all of them as they were when the block was entered."""
        states = self.states()
        try:
            yield
        finally:
            self.restore(states)


def same_states(before: States, after: States) -> bool:
    """Return whether nothing was drawn between two calls of `RandomSources.states`."""
    return all(_same(a, b) for a, b in zip(before, after, strict=True))


_OWN = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)


_TABLES = frozenset(vars(nn.Module()))


def _attributes(module: nn.Module) -> Iterator[Any]:
    for name, value in vars(module).items():
        if name in _TABLES:  # of parameters, modules and hooks: most of what there is, looked through for every call
            continue
        yield value
        if isinstance(value, list | tuple):
            yield from value
        elif isinstance(value, dict):
            yield from value.values()


@cache
def _globals(kind: type[nn.Module]) -> list[tuple[dict[str, Any], str]]:
    """Return the names of globals in the methods of a class, and in functions of the same files that these call.

    Each comes with the table that it stands in. What is a function, a class or a module by now is left out, and
    torch's own classes need no look.
    """
    kinds = [one for one in kind.__mro__ if not one.__module__.startswith(("torch.", "builtins"))]
    waiting = [*filter(None, (_function(value) for one in kinds for value in vars(one).values()))]
    seen, found = set[CodeType](), []
    while waiting:
        function = waiting.pop()
        if function.__code__ in seen:
            continue
        seen.add(function.__code__)
        table = function.__globals__
        for name in sorted(attribute_names(function.__code__)):
            value = table.get(name)
            called = _function(value)
            if called is not None and called.__globals__ is table:
                waiting.append(called)
            if not isinstance(value, FunctionType | type | ModuleType):
                found.append((table, name))
    return found


def _function(value: Any) -> FunctionType | None:
    """Return the function that a method, static or decorated, or a property is in the end; None: it is none of them."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    return inspect.unwrap(value) if isinstance(value, FunctionType) else None


def _state(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state()


def _restore(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, list | tuple) and len(a) < 100:  # the states of Python and NumPy are long tuples of numbers
        return all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return all(_same(a[key], b[key]) for key in a)
    return bool(a == b)

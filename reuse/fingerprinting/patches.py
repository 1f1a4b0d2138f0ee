"""Functions of installed packages that somebody has replaced while the program runs.

The version of a package stands for its code, unless a function that a layer calls is not the package's own any more. So
the functions that the code of an installed class reaches inside its package are looked through for others.
"""

from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType

import torch

from reuse.fingerprinting import digests as code
from reuse.fingerprinting.kinds import NOT_COMPUTING

Owns = Callable[[object], bool]
# What every layer goes through by no name: calls of a module, and operators between tensors.
EVERYWHERE = (torch.nn.Module, torch.Tensor)


def patches_everywhere(owns: Owns) -> Iterator[tuple[str, object]]:
    """Yield what was put in the place of methods that any layer may go through, by place.

    Args:
        owns: whether a function is the user's own.
    """
    for kind in EVERYWHERE:
        for name, value in code.class_members(kind):
            if name not in NOT_COMPUTING and isinstance(value, FunctionType) and owns(value):
                yield f"{kind.__module__}.{kind.__qualname__}.{name}", value


def patches_below(kind: type, owns: Owns) -> Iterator[tuple[str, object]]:
    """Yield what was put in the place of functions that the methods of an installed class reach, by place.

    Args:
        kind: the class.
        owns: whether a function or class is the user's own.
    """
    methods = [value for _, value in code.class_members(kind) if isinstance(value, FunctionType)]
    waiting, seen = [method for method in methods if not owns(method)], {id(method) for method in methods}
    while waiting:
        function = waiting.pop()
        for place, name, value in _referred(function):
            if owns(value) or _is_other_builtin(name, value):
                yield place, value
            elif isinstance(value, FunctionType) and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)


def _referred(function: FunctionType) -> Iterator[tuple[str, str, object]]:
    """Yield place, name and value of what a function refers to inside its own package."""
    names = code.attribute_names(function.__code__)
    package = (function.__module__ or "").partition(".")[0]
    for name, value in code.globals_of(function):
        if isinstance(value, ModuleType):
            yield from _members(value, names, package, frozenset())
        else:
            yield f"{function.__module__}.{name}", name, value


def _members(
    module: ModuleType, names: frozenset[str], package: str, seen: frozenset[int]
) -> Iterator[tuple[str, str, object]]:
    if module.__name__.partition(".")[0] != package or id(module) in seen:
        return
    for name, value in code.members_of(module, names):
        if isinstance(value, ModuleType):
            yield from _members(value, names, package, seen | {id(module)})
        else:
            yield f"{module.__name__}.{name}", name, value


def _is_other_builtin(name: str, value: object) -> bool:
    """Whether a compiled function lies under a name unlike its own; packages shorten names, and give private ones."""
    if not isinstance(value, BuiltinFunctionType) or name.startswith("_"):
        return False
    here, there = (text.replace("_", "").lower() for text in (name, value.__name__))
    return here not in there and there not in here

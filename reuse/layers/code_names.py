"""Names that a model's own code looks up, in its classes and in all functions of the user's that these reach."""

from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

from torch import nn

from reuse.fingerprinting import digests as code
from reuse.fingerprinting.environment import pinned_version

# By these a tensor is written into, or put on other memory, without torch counting it.
WRITES_UNSEEN = frozenset({"data", "numpy", "asarray", "from_dlpack", "data_ptr", "untyped_storage", "storage", "set_"})
WRITES_UNSEEN |= {"__array__", "__dlpack__", "frombuffer", "as_array", "_unsafe_preserve_version_counter"}
# What reads memory of a tensor in C++, whatever class of Python it is of.
READS_MEMORY = frozenset({"to_dlpack", "_to_dlpack"})


def names_in_code(model: nn.Module) -> frozenset[str]:
    """Return the names of attributes and globals in the code of a model that no installed package brings.

    Args:
        model: its classes, functions that its modules hold, and what these name are gone through.
    """
    waiting = [function for module in model.modules() for function in _held(module)]
    names, seen = set[str](), set[int]()
    while waiting:
        function = waiting.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        looked_up = code.attribute_names(function.__code__)
        names |= looked_up
        for _, value in (*code.globals_of(function), *code.closure_of(function)):
            waiting += _functions(value, looked_up)
    return frozenset(names)


def _held(module: nn.Module) -> Iterator[FunctionType]:
    for value in (type(module), *vars(module).values(), *module._forward_hooks.values()):
        yield from _functions(value, frozenset())
    for value in module._forward_pre_hooks.values():
        yield from _functions(value, frozenset())


def _functions(value: Any, names: frozenset[str]) -> Iterator[FunctionType]:
    """Yield the functions of the user's own that a value is or holds; of a module, those under some names."""
    if isinstance(value, MethodType):
        value = value.__func__
    if isinstance(value, ModuleType):
        if _is_own(value.__name__):
            for _, member in code.members_of(value, names):
                if not isinstance(member, ModuleType):
                    yield from _functions(member, names)
    elif isinstance(value, type):
        for base in filter(lambda base: _is_own(base.__module__), value.__mro__):
            yield from (member for _, member in code.class_members(base) if isinstance(member, FunctionType))
    elif isinstance(value, FunctionType) and _is_own(value.__module__ or "__main__"):
        yield value


def _is_own(module: str) -> bool:
    return pinned_version(module.split(".")[0]) is None and not module.startswith("reuse.")

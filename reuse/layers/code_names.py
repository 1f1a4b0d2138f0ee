"""Names that a model's own code looks up, in its classes and in all functions of the user's that these reach."""

from collections import deque
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from functools import _lru_cache_wrapper, partial, partialmethod
from operator import attrgetter, methodcaller
from types import FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

from reuse.fingerprinting import digests as code
from reuse.fingerprinting.environment import is_users

# By these a tensor is written into, or put on other memory, without torch counting it.
WRITES_UNSEEN = frozenset({"data", "numpy", "asarray", "from_dlpack", "data_ptr", "untyped_storage", "storage", "set_"})
WRITES_UNSEEN |= {"__array__", "__dlpack__", "frombuffer", "as_array", "_unsafe_preserve_version_counter"}
# What reads memory of a tensor in C++, whatever class of Python it is of.
READS_MEMORY = frozenset({"to_dlpack", "_to_dlpack"})
BY_TEXT = frozenset({"getattr", "attrgetter", "methodcaller"})
PLAIN = frozenset({str, bytes, bool, int, float, complex, type(None), Tensor, nn.Parameter})


def names_in_code(model: nn.Module) -> frozenset[str]:
    """Return the names of attributes and globals in the code of a model that no installed package brings.

    Args:
        model: its classes, and the functions, methods and objects that its modules hold, in containers and partials
            too, and what these name, are gone through.
    """
    return frozenset[str]().union(*map(_names, reached(model)))


def reached(begin: Any, known: Container[int] = ()) -> Iterator[Any]:
    """Yield all that a value leads to: what it holds, and what the user's own functions among it name, each once.

    Args:
        begin: a model, or a function.
        known: identities of values that are left out, with what they lead to.
    """
    waiting, seen = [begin], dict[int, Any]()
    while waiting:
        value = waiting.pop()
        if id(value) not in seen and id(value) not in known:
            seen[id(value)] = value
            yield value
            waiting += _named(value) if isinstance(value, FunctionType) else _parts(value)


def is_own(value: Any) -> bool:
    """Return whether a value is a function that no installed package brings."""
    return isinstance(value, FunctionType) and is_users(value.__module__ or "__main__")


def names_in(function: FunctionType) -> frozenset[str]:
    """Return the names that a function looks up, and its texts where it looks names up by texts."""
    looked_up = code.attribute_names(function.__code__)
    return looked_up if looked_up.isdisjoint(BY_TEXT) else looked_up | _parted(code.texts_in(function.__code__))


def _names(value: Any) -> frozenset[str]:
    if isinstance(value, attrgetter | methodcaller):
        return _parted(text for text in value.__reduce__()[1] if isinstance(text, str))
    return names_in(value) if is_own(value) else frozenset()


def _parted(texts: Iterable[str]) -> frozenset[str]:
    """Return the names in texts that may have dots between them."""
    return frozenset(name for text in texts for name in text.split("."))


def _named(function: FunctionType) -> Iterable[Any]:
    """Return what a function of the user's own names, and its defaults."""
    if not is_own(function):
        return ()
    looked_up = code.attribute_names(function.__code__)
    found = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *vars(function).values()]
    for _, named in (*code.globals_of(function), *code.closure_of(function)):
        found += _members(named, looked_up) if isinstance(named, ModuleType) else [named]
    return found


def _parts(value: Any) -> Iterable[Any]:
    """Return what may lead on to functions of the user's own in a value that is none."""
    match value:
        case MethodType():
            return value.__func__, value.__self__
        case _lru_cache_wrapper():
            return (value.__wrapped__,)
        case partial() | partialmethod():
            return value.func, *value.args, *value.keywords.values()
        case dict():
            return [part for part in value.values() if type(part) not in PLAIN]
        case tuple() | list() | set() | frozenset() | deque():
            return [part for part in value if type(part) not in PLAIN]
        case type():
            own = filter(lambda base: is_users(base.__module__), value.__mro__)
            return [member for base in own for _, member in code.class_members(base)]
        case nn.Module():
            return type(value), *vars(value).values()
        case _ if type(value) not in PLAIN and is_users(type(value).__module__):
            return type(value), *getattr(value, "__dict__", {}).values(), *_in_slots(value)
    return ()


def _in_slots(value: Any) -> Iterator[Any]:
    for base in type(value).__mro__:
        for slot in filter(lambda member: isinstance(member, MemberDescriptorType), vars(base).values()):
            with suppress(AttributeError):  # nothing was put into it
                yield slot.__get__(value)


def _members(module: ModuleType, names: frozenset[str]) -> list[Any]:
    """Return what a module of the user's own holds under some names."""
    if not is_users(module.__name__):
        return []
    return [member for _, member in code.members_of(module, names) if not isinstance(member, ModuleType)]

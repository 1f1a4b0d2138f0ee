"""What code of packages does with the user's own: names it reads of it, and what of it may have been exchanged."""

import inspect
import operator
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import cache
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

from torch import nn
from torch.autograd.function import FunctionCtx, _SingleLevelFunction

from reuse.fingerprinting import digests as code
from reuse.fingerprinting.kinds import FOUNDATIONS
from reuse.fingerprinting.reading import reads_of

# Bases of which it is known what they call of their subclasses.
KNOWN_BASES = FOUNDATIONS | {FunctionCtx, _SingleLevelFunction}
NOT_IN_FORWARD = frozenset({"__init__", "__new__", "__repr__", "__setstate__", "extra_repr", "reset_parameters"})
LOOKUPS: tuple[object, ...] = (getattr, hasattr, vars, dir, eval, exec, globals, locals)
LOOKUPS += (inspect.getattr_static, inspect.getmembers, operator.attrgetter, operator.methodcaller)
LOOKUP_IDS = frozenset(map(id, LOOKUPS))
# What functions of the standard library read of a class by a name that the caller does not spell out.
MEANT = {
    "get_type_hints": ("__annotations__",),
    "get_annotations": ("__annotations__",),
    "fields": ("__dataclass_fields__",),
    "getdoc": ("__doc__",),
    "copy": ("__copy__", "__getstate__", "__setstate__", "__reduce__", "__reduce_ex__"),
    "getsizeof": ("__sizeof__",),
    "replace": ("__replace__",),
}
TEXTS_MEANT = frozenset({"__str__", "__repr__"})
GLOBAL_LOOKUPS = frozenset({"globals", "eval", "exec"})
LOADERS = frozenset({"import_module", "__import__", "modules"})
CONSTANTS = (bool, int, float, complex, str, tuple, list, set, frozenset)


def bases_read(kind: type, owns: Callable[[object], bool]) -> frozenset[str]:
    """Return the names that methods of a class's bases in installed packages read: a subclass may put its own there.

    Args:
        kind: of the user's own.
        owns: whether a class is the user's own.
    """
    bases = [base for base in kind.__mro__ if base not in KNOWN_BASES and not owns(base)]
    return frozenset().union(*(_names_read(base) for base in bases if not _is_builtin(base)))


def is_lookup(value: object) -> bool:
    """Return whether a value looks up names that no code spells out, under whatever name it is called itself."""
    return id(value) in LOOKUP_IDS or isinstance(value, operator.attrgetter | operator.methodcaller)


def is_patchable(module: ModuleType, value: object) -> bool:
    """Return whether a member of an installed module may be another one than its version says, and can be described."""
    if isinstance(value, FunctionType | BuiltinFunctionType):
        return True
    tables = () if module.__name__.split(".")[0] in sys.stdlib_module_names else (dict,)  # `sys.modules`
    return isinstance(value, (*CONSTANTS, *tables))


def settings_among(module: ModuleType, names: frozenset[str]) -> Iterator[tuple[str, object]]:
    """Yield what a module of torch tells under some names without a variable of that name: flags of its backends.

    Those of an object in it, such as `torch.backends.cuda.matmul`, are told as well.
    """
    if not module.__name__.startswith("torch."):
        return
    told: list[tuple[str, object]] = [("", module)] if type(module) is not ModuleType else []
    told += [(f"{name}.", value) for name, value in code.members_of(module, names) if _is_backend(value)]
    for label, owner in told:
        for name in sorted(names - vars(owner).keys()):
            with suppress(Exception):  # whatever torch raises for a setting that this build of it lacks
                if isinstance(value := getattr(owner, name), CONSTANTS):
                    yield label + name, value


def _is_backend(value: object) -> bool:
    return type(value).__module__.startswith("torch.backends") and not isinstance(value, ModuleType)


def globals_spelt(function: FunctionType, looked_up: Collection[str]) -> list[str]:
    """Return the globals that texts in a function name which looks up globals by texts: `globals()["SCALE"]`."""
    if GLOBAL_LOOKUPS.isdisjoint(looked_up):
        return []
    words = {word for text in code.texts_in(function.__code__) for word in re.findall(r"\w+", text)}
    return sorted(words & function.__globals__.keys() - set(looked_up))


def modules_named(function: CodeType) -> Iterator[ModuleType]:
    """Yield the modules that code may look up by a name that it spells out: `sys.modules["tools"]`."""
    if not LOADERS.isdisjoint(code.attribute_names(function)):
        for text in sorted(code.texts_in(function)):
            if isinstance(module := sys.modules.get(text), ModuleType):
                yield module


@cache
def _names_read(base: type) -> frozenset[str]:
    methods = [value for name, value in code.class_members(base) if name.split(".")[0] not in NOT_IN_FORWARD]
    return frozenset().union(*(reads_of(m.__code__).names for m in methods if isinstance(m, FunctionType)))


def _is_builtin(base: type) -> bool:
    return base.__module__.split(".")[0] in sys.stdlib_module_names or issubclass(nn.Module, base)

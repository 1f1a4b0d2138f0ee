"""Digests of texts, tensors and code, the same in every process.

Code is digested as its bytecode and all that the bytecode names. File names, line numbers and docstrings are left out,
so moving or documenting a function changes nothing. The functions here describe one function or class;
`values.Description` follows what they refer to.
"""

import dis
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, cached_property
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.autograd.function import BackwardCFunction
from xxhash import xxh3_64_hexdigest, xxh3_128_hexdigest

from reuse.devices import dtype_name
from reuse.errors import CacheError

HAS_DOCSTRING = 0x4000000  # a flag of code objects since Python 3.13
NOT_CODE = frozenset(
    {"__doc__", "__dict__", "__weakref__", "__module__", "__annotations__", "__slots__", "__qualname__"}
)

MADE_BY_PYTHON = WrapperDescriptorType | MethodDescriptorType | ClassMethodDescriptorType
DISPATCHED = frozenset({"dispatch_cache", "cache_token"})  # variables of functools


class Import(NamedTuple):
    """One import statement in code: the module as it is written, the names taken from it, and the dots before it."""

    name: str
    names: tuple[str, ...] | None
    level: int


def digest(text: str) -> str:
    """Return the 128-bit digest of a text in hexadecimal."""
    return xxh3_128_hexdigest(text.encode())


def short(text: str, longest: int = 100) -> str:
    """Return a text as it is where it is short, else its beginning and a digest: components are read by people."""
    if len(text) <= longest and "\n" not in text:
        return text
    return f"{text[:24]!r}… {xxh3_64_hexdigest(text.encode())}"


def tensor_text(tensor: torch.Tensor) -> str:
    """Return type, shape and digest of a tensor's values; strides, device, gradients and names do not matter.

    Raises:
        CacheError: the tensor has no plain values (meta, sparse, uninitialised).
    """
    try:
        plain = tensor.detach().to("cpu").resolve_conj().resolve_neg().contiguous()
        values = plain.reshape(-1).view(torch.uint8).numpy() if plain.numel() else np.empty(0, np.uint8)
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CacheError(
            f"a {tensor.layout} tensor on {tensor.device} cannot be part of a cache key ({reason})"
        ) from error
    return f"{dtype_name(tensor.dtype)} {tuple(tensor.shape)} {xxh3_128_hexdigest(values.data)}"


def array_text(array: np.ndarray) -> str:
    """Return type, shape and digest of a NumPy array's values."""
    values = np.ascontiguousarray(array)
    return f"array {array.dtype.str} {array.shape} {xxh3_128_hexdigest(values.tobytes())}"


def module_name(thing: object) -> str | None:
    """Return the name of the module that a function or class is from; None where it tells none, as some of Cython's."""
    name = getattr(thing, "__module__", None)
    return name if isinstance(name, str) and name else None


def qualified_name(thing: object) -> str:
    """Return the dotted name that a function or class was defined under."""
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", type(thing).__name__)
    return f"{module_name(thing) or 'builtins'}.{name}"


def is_importable(thing: object) -> bool:
    """Return whether importing the qualified name gives this very object: then its name stands for it."""
    found: object = sys.modules.get(module_name(thing) or "builtins")
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", "")
    for part in str(name).split("."):
        found = getattr(found, part, None)
    return found is thing


@cache
def code_digest(code: CodeType) -> str:
    """Return the digest of a code object: bytecode, constants, names, signature, exception table, nested code."""
    constants = list(code.co_consts)
    if is_documented(code):
        constants[0] = None
    return digest(
        repr(
            (
                code.co_code.hex(),
                code.co_names,
                code.co_varnames,
                code.co_freevars,
                code.co_cellvars,
                (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & ~HAS_DOCSTRING),
                code.co_exceptiontable.hex(),
                [constant_text(constant) for constant in constants],
            )
        )
    )


def file_digest(module: str) -> str:
    """Return a digest of the file that a module was loaded from, for code that is compiled; "" where there is none."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return xxh3_128_hexdigest(Path(file).read_bytes()) if file and Path(file).is_file() else ""


def is_documented(code: CodeType) -> bool:
    """Return whether the first constant of a code object is its docstring, or the place of one."""
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & HAS_DOCSTRING)
    # Before 3.13 the first constant of a `def` is its docstring or None; lambdas and comprehensions have none.
    return bool(code.co_consts) and isinstance(code.co_consts[0], str) and not code.co_name.startswith("<")


def constant_text(constant: object) -> str:
    """Return a constant of a code object as text that is the same in every process."""
    if isinstance(constant, CodeType):
        return f"code {constant.co_name} {code_digest(constant)}"
    if isinstance(constant, frozenset):  # its order depends on PYTHONHASHSEED
        return f"frozenset {sorted(map(constant_text, constant))}"
    if isinstance(constant, tuple):
        return f"tuple {list(map(constant_text, constant))}"
    return f"{type(constant).__name__} {constant!r}"


@cache
def global_names(code: CodeType) -> tuple[str, ...]:
    """Return the names of globals and builtins that a code object and those nested in it look up."""
    names = {str(step.argval) for step in dis.get_instructions(code) if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    for nested in nested_code(code):
        names.update(global_names(nested))
    return tuple(sorted(names))


@cache
def imports(code: CodeType) -> tuple[Import, ...]:
    """Return the import statements inside a code object and those nested in it."""
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    found = [
        Import(str(step.argval), names.argval, level.argval)  # the two are pushed right before
        for level, names, step in zip(steps, steps[1:], steps[2:], strict=False)
        if step.opname == "IMPORT_NAME"
    ]
    for nested in nested_code(code):
        found.extend(imports(nested))
    return tuple(dict.fromkeys(found))


def load_import(wanted: Import, scope: Mapping[str, Any]) -> ModuleType | None:
    """Return what an import statement in `scope` gives, None where it fails.

    A module that is not loaded yet is loaded: the code would do so when it runs, and a key that depended on whether it
    already ran would not find its own rows again.
    """
    with suppress(Exception):  # whatever a user's module raises; the branch that imports it may never be taken
        return __import__(wanted.name, scope, None, wanted.names or (), wanted.level)
    return None


def find_package(package: str) -> ModuleSpec | None:
    """Return where a top-level package would be imported from, without loading it; None where it is not there."""
    try:
        return find_spec(package)
    except (ImportError, ValueError):  # loaded, but made by hand: it has no place
        return None


@cache
def attribute_names(code: CodeType) -> frozenset[str]:
    """Return every name that a code object or those nested in it may look up on something."""
    return frozenset(code.co_names).union(*map(attribute_names, nested_code(code)))


def texts_in(code: CodeType) -> frozenset[str]:
    """Return every text that a code object or those nested in it hold as a constant."""
    own = frozenset(constant for constant in code.co_consts if isinstance(constant, str))
    return own.union(*map(texts_in, nested_code(code)))


def closure_of(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Yield the variables of enclosing functions that a function uses; those not yet assigned are left out.

    So is what `functools.singledispatch` found before, which follows from what is registered.
    """
    left_out = DISPATCHED if function.__code__.co_filename == functools.__file__ else frozenset()
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name in left_out:
            continue
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue


def globals_of(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Yield the globals that a function refers to, and those of modules that it reaches through a module's name."""
    for name in global_names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def members_of(module: ModuleType, names: frozenset[str]) -> Iterator[tuple[str, object]]:
    """Yield what a module holds under any of `names`, in order of name."""
    for name in sorted(names):
        if name in vars(module):
            yield name, vars(module)[name]


def class_members(kind: type, read: frozenset[str] = frozenset()) -> Iterator[tuple[str, object]]:
    """Yield the functions and plain attributes that a class itself defines, by name, properties taken apart.

    Args:
        kind: the class.
        read: names that count though Python has a meaning for them, such as `__doc__`.
    """
    for name, value in sorted(vars(kind).items()):
        if name not in read and (name in NOT_CODE or (_is_dunder(name) and not _is_made(value))):
            continue
        if isinstance(value, type) and issubclass(value, BackwardCFunction):
            continue  # torch makes it for an autograd function, with the number of those that the process has made
        yield from _functions_in(name, value)


def _functions_in(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, staticmethod | classmethod):
        yield name, value.__func__
    elif isinstance(value, property):
        accessors: dict[str, Callable[..., object] | None] = {
            "get": value.fget,
            "set": value.fset,
            "delete": value.fdel,
        }
        yield from ((f"{name}.{part}", function) for part, function in accessors.items() if function is not None)
    elif isinstance(value, cached_property):
        yield name, value.func
    else:
        yield name, value


def nested_code(code: CodeType) -> list[CodeType]:
    """Return the code objects that one holds: of functions, classes and comprehensions that it makes."""
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _is_made(value: object) -> bool:
    """Whether what a class has under a name with a meaning was written for it, and not made by Python."""
    if isinstance(value, FunctionType | staticmethod | classmethod | property):
        return True
    return callable(value) and not isinstance(value, type | BuiltinFunctionType | MADE_BY_PYTHON)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")

"""Code as text in which the names of local variables, of globals and of the code itself do not count."""

import dis
from collections.abc import Mapping
from functools import cache
from types import CodeType
from typing import Any

from reuse.fingerprinting.digests import HAS_DOCSTRING, constant_text, digest, is_documented, nested_code
from reuse.fingerprinting.reading import DYNAMIC

VARIABLE_ARGUMENTS = 0x04 | 0x08  # the flags of `*args` and `**kwargs`


def code_text(code: CodeType, names: frozenset[str] | None, scope: Mapping[str, Any]) -> str:
    """Return the digest of a code object: bytecode, constants, attribute names, signature, exceptions, nested code.

    Args:
        code: of a function.
        names: that are read anywhere, those of arguments given by name among them; None: any may be.
        scope: the globals, which are described beside the code where they are found in it.
    """
    return _text(code, names, scope, {})


def _text(code: CodeType, names: frozenset[str] | None, scope: Mapping[str, Any], met: dict[str, int]) -> str:
    """Return the same of code in which some globals were met before, by name; those that are met here are added.

    A global that is new has no name, as its place among the new ones says which it is; one that was met has its number.
    """
    constants = [None if number == 0 and is_documented(code) else c for number, c in enumerate(code.co_consts)]
    unnamed = _only_global(code) & scope.keys()
    looked_up = [str(met.get(name, "")) if name in unnamed else name for name in code.co_names]
    for name in _own_globals(code):
        met.setdefault(name, len(met))
    return digest(
        repr(
            (
                code.co_code.hex(),
                looked_up,
                [name if names is None or name in names else "" for name in arguments(code)],
                code.co_varnames if names is None and not DYNAMIC.isdisjoint(code.co_names) else len(code.co_varnames),
                (len(code.co_freevars), len(code.co_cellvars)),
                (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & ~HAS_DOCSTRING),
                code.co_exceptiontable.hex(),
                [_text(c, names, scope, met) if isinstance(c, CodeType) else constant_text(c) for c in constants],
            )
        )
    )


@cache
def global_names(code: CodeType) -> tuple[str, ...]:
    """Return the globals and builtins that a code object and those nested in it look up, in the order of the code."""
    names = [*_own_globals(code)]
    for nested in nested_code(code):
        names += global_names(nested)
    return tuple(dict.fromkeys(names))


@cache
def _own_globals(code: CodeType) -> tuple[str, ...]:
    steps = dis.get_instructions(code)
    return tuple(str(step.argval) for step in steps if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"})


@cache
def _only_global(code: CodeType) -> frozenset[str]:
    """Return the names that this code object looks up as globals and nowhere else."""
    uses: dict[bool, set[str]] = {True: set(), False: set()}
    for step in dis.get_instructions(code):
        if step.opcode in dis.hasname:
            uses[step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}].add(str(step.argval))
    return frozenset(uses[True] - uses[False])


def arguments(code: CodeType) -> tuple[str, ...]:
    """Return the names of the arguments of a code object."""
    count = code.co_argcount + code.co_kwonlyargcount + bin(code.co_flags & VARIABLE_ARGUMENTS).count("1")
    return code.co_varnames[:count]

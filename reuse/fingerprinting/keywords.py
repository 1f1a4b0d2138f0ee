"""Names of arguments that a program makes up while it runs: `f(x, **{key: 2.0})`, keywords that a hook returns."""

import dis
from functools import cache
from inspect import CO_VARARGS, CO_VARKEYWORDS
from itertools import pairwise
from types import CodeType

from reuse.fingerprinting.digests import nested_code
from reuse.fingerprinting.reading import LOADS

# What calls a function with keywords that are given as a dictionary.
CALLERS = frozenset({"functional_call"})
CHANGES = frozenset({"update", "setdefault", "__setitem__"})
HELD = LOADS | {"LOAD_GLOBAL", "LOAD_DEREF", "LOAD_CONST"}


@cache
def makes_up_keywords(code: CodeType) -> bool:
    """Return whether code may call a function with keywords that nothing spells out.

    Those that it was called with itself, `**kwargs`, its caller spells, and keys of a dictionary that is held anywhere
    are described with that.
    """
    if not CALLERS.isdisjoint(code.co_names):
        return True
    steps = [step for step in dis.get_instructions(code) if step.opname not in {"EXTENDED_ARG", "CACHE", "PUSH_NULL"}]
    changes = any(step.opname in {"STORE_SUBSCR", "MAP_ADD"} for step in steps) or not CHANGES.isdisjoint(code.co_names)
    for before, step in pairwise(steps):
        if step.opname == "DICT_MERGE" and (changes or not _is_spelt(before, code)):
            return True
        if step.opname == "CALL_FUNCTION_EX" and (step.arg or 0) & 1 and before.opname != "DICT_MERGE":
            return True
    return any(map(makes_up_keywords, nested_code(code)))


def _is_spelt(step: dis.Instruction, code: CodeType) -> bool:
    """Return whether an instruction loads keywords that somebody else spells out."""
    if step.opname in HELD:
        return True
    return step.opname.startswith("LOAD_FAST") and step.argval == _own_keywords(code)


def _own_keywords(code: CodeType) -> str | None:
    """Return the name of the argument `**kwargs` of a function, unless it is given another value."""
    if not code.co_flags & CO_VARKEYWORDS:
        return None
    name = code.co_varnames[code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)]
    is_kept = all(step.argval != name for step in dis.get_instructions(code) if step.opname.startswith("STORE_FAST"))
    return name if is_kept else None

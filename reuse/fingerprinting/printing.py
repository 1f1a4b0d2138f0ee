"""Where code makes texts of values, which are others with other printing options: read in its bytecode.

Texts of errors count for nothing, as long as nothing takes hold of an error.
"""

import dis
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from types import CodeType

from reuse.fingerprinting.digests import attribute_names, nested_code, texts_in
from reuse.fingerprinting.reading import LOADS, statements

TEXTS: tuple[object, ...] = (str, repr, format, ascii)
TEXT_NAMES = frozenset({"str", "repr", "format", "ascii", "__str__", "__repr__", "__format__", "array2string"})
TEXT_NAMES |= {"array_repr", "array_str", "format_map"}
FORMATS = frozenset({"FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC", "CONVERT_VALUE"})
LOOKUPS = LOADS | {"LOAD_GLOBAL", "LOAD_NAME"}
# Errors of Python's that hold their texts under one name, and the names that lead to these.
ERRORS = frozenset({"ValueError", "TypeError", "RuntimeError", "NotImplementedError", "AssertionError", "IndexError"})
ERRORS |= {"KeyError", "LookupError", "ArithmeticError", "ZeroDivisionError", "OverflowError", "Exception"}
# Names by which code comes by an error that it did not catch under a name, or by what the error holds.
READ_ERRORS = frozenset({"args", "__reduce__", "format_exc", "format_exception", "format_exception_only", "print_exc"})
READ_ERRORS |= {"exc_info", "exception", "print_exception", "TracebackException", "ExitStack", "AsyncExitStack"}
READ_ERRORS |= {"__context__", "__cause__", "last_value", "last_exc"}
LEAVING = frozenset({"__exit__", "__aexit__"})  # methods that are given errors
MATCHES = frozenset({"CHECK_EXC_MATCH", "CHECK_EG_MATCH"})  # of `except` and `except*`


def makes_texts(codes: Collection[CodeType], texts: Iterable[str] = ()) -> bool:
    """Return whether code makes texts of values: `f"{x}"`, `str(x)`, `"%s" % x`.

    Args:
        codes: of functions, those nested in them included.
        texts: that they may meet, of which one may be the left side of a `%`.
    """
    every = [one for code in codes for one in (code, *_nested(code))]
    reads_errors = any(map(_holds_errors, every))
    steps = [step for code in every for step in _steps(code, reads_errors)]
    if any(step.opname in FORMATS or (step.opname in LOOKUPS and step.argval in TEXT_NAMES) for step in steps):
        return True
    constants = (text for step in steps if step.opname == "LOAD_CONST" for text in _texts(step.argval))
    return any("%" in text for text in (*constants, *texts)) and any(
        _takes_remainder(code, reads_errors) for code in every
    )


def _nested(code: CodeType) -> Iterator[CodeType]:
    for one in nested_code(code):
        yield one
        yield from _nested(one)


@cache
def _holds_errors(code: CodeType) -> bool:
    """Return whether code may take hold of an error: `except ValueError as error`, a method `__exit__`, `exc_info`."""
    if code.co_name in LEAVING or not READ_ERRORS.isdisjoint(attribute_names(code) | texts_in(code)):
        return True
    steps = _steps(code, with_errors=True)
    return any(step.opname in MATCHES and _is_stored(steps[place + 1 :]) for place, step in enumerate(steps))


def _is_stored(steps: Sequence[dis.Instruction]) -> bool:
    """Return whether what an `except` matches gets a name.

    Args:
        steps: after the match.
    """
    after = (step.opname for step in steps if "JUMP" not in step.opname and step.opname not in {"COPY", "NOT_TAKEN"})
    return next(after, "").startswith("STORE_")


@cache
def _steps(code: CodeType, with_errors: bool) -> list[dis.Instruction]:
    """Return the instructions of code, those that raise errors of Python's left out unless they count."""
    parts = (steps for steps, whole in statements(code) if with_errors or not (whole and _raises(steps)))
    return [step for steps in parts for step in steps]


def _raises(steps: Sequence[dis.Instruction]) -> bool:
    made = steps[0].opname == "LOAD_ASSERTION_ERROR" or (
        steps[0].opname in {"LOAD_GLOBAL", "LOAD_COMMON_CONSTANT"} and _name(steps[0].argval) in ERRORS
    )
    return made and steps[-1].opname == "RAISE_VARARGS"


def _name(named: object) -> str:
    return named if isinstance(named, str) else getattr(named, "__name__", "")


def _texts(constant: object) -> Iterator[str]:
    if isinstance(constant, str):
        yield constant
    elif isinstance(constant, tuple):
        for one in constant:
            yield from _texts(one)


@cache
def _takes_remainder(code: CodeType, with_errors: bool) -> bool:
    """Return whether code has a `%` whose sides may be a text and a value: neither is a number in the code."""
    steps = _steps(code, with_errors)
    joins = {step.offset for step in dis.get_instructions(code) if step.is_jump_target}
    return any(
        step.opname == "BINARY_OP"
        and step.argrepr in {"%", "%="}
        and not any(map(_is_number, _sides(steps[: place + 1], joins)))
        for place, step in enumerate(steps)
    )


def _sides(steps: Sequence[dis.Instruction], joins: Collection[int]) -> Iterator[dis.Instruction]:
    """Yield the instructions that end the right and the left side of an operator, those that are known.

    Where two ways through the code join, as after `a if b else c`, either may have brought a side.

    Args:
        steps: up to the operator.
        joins: offsets of instructions that others jump to.
    """
    lacking = 1  # values that the right side has yet to take
    for after, step in pairwise(reversed(steps)):
        if lacking < 0 or "JUMP" in step.opname or any(step.offset < join <= after.offset for join in joins):
            return
        if lacking == 0 or after is steps[-1]:
            yield step
        if lacking == 0:
            return
        lacking -= dis.stack_effect(step.opcode, step.arg)


def _is_number(step: dis.Instruction) -> bool:
    return step.opname == "LOAD_SMALL_INT" or (step.opname == "LOAD_CONST" and isinstance(step.argval, int | float))

"""Where code makes texts of values, which are others with other printing options: read in its bytecode.

Texts of errors count for nothing, as long as nothing reads what an error holds.
"""

import dis
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from types import CodeType

from reuse.fingerprinting.digests import attribute_names, nested_code
from reuse.fingerprinting.reading import LOADS, statements

TEXTS: tuple[object, ...] = (str, repr, format, ascii)
TEXT_NAMES = frozenset({"str", "repr", "format", "ascii", "__str__", "__repr__", "__format__", "array2string"})
TEXT_NAMES |= {"array_repr", "array_str", "format_map"}
FORMATS = frozenset({"FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC", "CONVERT_VALUE"})
LOOKUPS = LOADS | {"LOAD_GLOBAL", "LOAD_NAME"}
# Errors of Python's that hold their texts under one name, and the names that lead to these.
ERRORS = frozenset({"ValueError", "TypeError", "RuntimeError", "NotImplementedError", "AssertionError", "IndexError"})
ERRORS |= {"KeyError", "LookupError", "ArithmeticError", "ZeroDivisionError", "OverflowError", "Exception"}
READ_ERRORS = frozenset({"args", "__reduce__", "format_exc", "format_exception", "format_exception_only", "print_exc"})


def makes_texts(codes: Collection[CodeType], texts: Iterable[str] = ()) -> bool:
    """Return whether code makes texts of values: `f"{x}"`, `str(x)`, `"%s" % x`.

    Args:
        codes: of functions, those nested in them included.
        texts: that they may meet, of which one may be the left side of a `%`.
    """
    every = [one for code in codes for one in (code, *_nested(code))]
    reads_errors = any(not READ_ERRORS.isdisjoint(attribute_names(code)) for code in codes)
    steps = [step for code in every for step in _steps(code, reads_errors)]
    if any(step.opname in FORMATS or (step.opname in LOOKUPS and step.argval in TEXT_NAMES) for step in steps):
        return True
    constants = (text for step in steps if step.opname == "LOAD_CONST" for text in _texts(step.argval))
    return any("%" in text for text in (*constants, *texts)) and any(map(_takes_remainder, every))


def _nested(code: CodeType) -> Iterator[CodeType]:
    for one in nested_code(code):
        yield one
        yield from _nested(one)


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
def _takes_remainder(code: CodeType) -> bool:
    """Return whether code has a `%` whose sides may be a text and a value: neither is a number in the code."""
    steps = _steps(code, with_errors=False)
    return any(
        step.opname == "BINARY_OP" and step.argrepr in {"%", "%="} and not any(map(_is_number, _sides(steps[:place])))
        for place, step in enumerate(steps)
    )


def _sides(steps: Sequence[dis.Instruction]) -> Iterator[dis.Instruction]:
    """Yield the instruction that ends the right side of an operator, and that of the left one where it is known.

    Args:
        steps: those before the operator.
    """
    yield from steps[-1:]
    lacking = 1
    for place in range(len(steps) - 1, -1, -1):
        lacking -= dis.stack_effect(steps[place].opcode, steps[place].arg)
        if "JUMP" in steps[place].opname or lacking < 0:
            return
        if lacking == 0:
            yield from steps[place - 1 : place]
            return


def _is_number(step: dis.Instruction) -> bool:
    return step.opname == "LOAD_SMALL_INT" or (step.opname == "LOAD_CONST" and isinstance(step.argval, int | float))

"""What code asks of the program around it by functions: threads, seeds, contexts, and how values are printed."""

import decimal
import dis
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from types import CodeType, FunctionType

import numpy as np
import torch

from reuse.fingerprinting.digests import attribute_names, nested_code


def _decimal_context() -> object:
    context = decimal.getcontext()
    bounds = context.prec, context.Emin, context.Emax, context.clamp, context.capitals
    return context.rounding, bounds, sorted(kind.__name__ for kind, is_raised in context.traps.items() if is_raised)


# What a function returns, by the name of the function that code asks for it, or of what it has to do with.
TOLD: dict[str, Callable[[], object]] = {
    "get_num_threads": torch.get_num_threads,
    "get_num_interop_threads": torch.get_num_interop_threads,
    "initial_seed": torch.initial_seed,
    "get_default_device": lambda: torch.get_default_device().type,
    "is_warn_always_enabled": torch.is_warn_always_enabled,
    "device_count": torch.cuda.device_count,
    "geterr": np.geterr,
    "getbufsize": np.getbufsize,
    "getrecursionlimit": sys.getrecursionlimit,
    "getcontext": _decimal_context,
    "Decimal": _decimal_context,
}
TEXTS: tuple[object, ...] = (str, repr, format, ascii)
TEXT_NAMES = frozenset({"str", "repr", "format", "ascii", "__str__", "__repr__", "__format__", "array2string"})
TEXT_NAMES |= {"array_repr", "array_str", "format_map"}
FORMATS = frozenset({"FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC", "CONVERT_VALUE"})


def surroundings_of(functions: Iterable[FunctionType], values_print: bool) -> Iterator[tuple[str, object]]:
    """Yield what functions may read of the program around them, by name.

    Args:
        functions: of the user's own.
        values_print: whether they hold a function that makes texts of values.
    """
    codes = [function.__code__ for function in functions]
    names = frozenset[str]().union(*map(attribute_names, codes))
    yield from ((name, TOLD[name]()) for name in sorted(names & TOLD.keys()))
    if values_print or makes_texts(codes):
        yield "printing of tensors", vars(torch._tensor_str.PRINT_OPTS)
        yield "printing of arrays", np.get_printoptions()


def makes_texts(codes: Iterable[CodeType]) -> bool:
    """Return whether code makes texts of values."""
    return any(_formats(code) or not TEXT_NAMES.isdisjoint(attribute_names(code)) for code in codes)


@cache
def _formats(code: CodeType) -> bool:
    """Return whether code makes a text of a value: `f"{x}"`, `"%s" % x`."""
    percent = any(isinstance(constant, str) and "%" in constant for constant in code.co_consts)
    steps = dis.get_instructions(code)
    if any(step.opname in FORMATS or (percent and step.argrepr in {"%", "%="}) for step in steps):
        return True
    return any(map(_formats, nested_code(code)))

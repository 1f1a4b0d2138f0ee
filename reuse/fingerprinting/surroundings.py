"""What code asks of the program around it by functions: threads, seeds, contexts, and how values are printed."""

import decimal
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType

import numpy as np
import torch

from reuse.fingerprinting.digests import attribute_names


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


def surroundings_of(functions: Iterable[FunctionType], values_print: bool) -> Iterator[tuple[str, object]]:
    """Yield what functions may read of the program around them, by name.

    Args:
        functions: of the user's own.
        values_print: whether they make texts of values.
    """
    codes = [function.__code__ for function in functions]
    names = frozenset[str]().union(*map(attribute_names, codes))
    yield from ((name, TOLD[name]()) for name in sorted(names & TOLD.keys()))
    if values_print:
        yield "printing of tensors", vars(torch._tensor_str.PRINT_OPTS)
        yield "printing of arrays", np.get_printoptions()

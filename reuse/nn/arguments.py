"""Names with arguments after a colon: `prelu:0`, `variance_scaling:2,fan_avg,uniform`."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from reuse.errors import UsageError
from reuse.menus import lookup

T = TypeVar("T")

# What torch's constructors take beside numbers that mean something: not for names.
HIDDEN = ("tensor", "inplace", "device", "dtype", "generator")


def look_up_with_arguments(menu: Mapping[str, Callable[..., T]], text: str, kind: str) -> Callable[..., T]:
    """Return what `text` names in `menu`, with the arguments after its colon filled in.

    Args:
        menu: names and functions; arguments fill their parameters in order, but for those in `HIDDEN`.
        text: `name` or `name:argument,argument`; an argument that reads as a number is one.
        kind: what the menu holds, in the singular, for messages.

    Raises:
        UnknownNameError: the menu does not hold the name.
        UsageError: more arguments than the function takes.
    """
    name, _, tail = text.partition(":")
    function = lookup(menu, name.strip(), kind)
    given = [_number_or_word(part.strip()) for part in tail.split(",") if part.strip()]
    free = [parameter for parameter in inspect.signature(function).parameters if parameter not in HIDDEN]
    if len(given) > len(free):
        takes = f"takes {', '.join(free)}" if free else "takes no arguments"
        raise UsageError(f"{kind} {text!r} has {len(given)} arguments, but {name} {takes}")
    return partial(function, **dict(zip(free, given, strict=False))) if given else function


def _number_or_word(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text

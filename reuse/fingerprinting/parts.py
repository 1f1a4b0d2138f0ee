"""Containers and objects as text, by their parts: items, attributes, and what pickle would build the object from."""

import enum
import random
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from contextvars import ContextVar
from struct import Struct

import numpy as np
import torch

from reuse.errors import CacheError
from reuse.fingerprinting.digests import short

HEAP_TYPE = 1 << 9  # a flag of classes that are written in Python
OF_ENUMERATIONS = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})
FOUND_BY_PANDAS = frozenset({"_cache", "_item_cache"})  # while somebody read a table or an index
NUMBERS = (int, float, complex, str, bytes)
# State that moves on, and no computation.
UNDESCRIBED = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState, Iterator)

Text = Callable[[object], str]
"""Describes any value."""


def parts_text(value: object, text: Text) -> str:
    """Return the description of a container's items or an object's attributes, less that of its class.

    Args:
        value: what has no description of its own.
        text: describes the parts.
    """
    if isinstance(value, weakref.ref):
        referred = value()  # a parameter is described with its layer
        return "" if referred is None or isinstance(referred, torch.nn.Parameter) else text(referred)
    attributes = _attributes(value, text)
    if isinstance(value, enum.Enum):
        return f"{value.name} = {text(value.value)}{attributes}"
    if isinstance(value, NUMBERS):  # of a class of the user's own
        plain = next(base for base in NUMBERS if isinstance(value, base))
        return f"{short(plain.__repr__(value))}{attributes}"
    if isinstance(value, deque):
        return f"{value.maxlen} [{', '.join(map(text, value))}]{attributes}"
    if isinstance(value, set | frozenset):  # their order depends on PYTHONHASHSEED
        return f"set {{{', '.join(sorted(map(text, value)))}}}{attributes}"
    if isinstance(value, Mapping):
        default = f"{text(value.default_factory)} " if isinstance(value, defaultdict) else ""
        pairs = [f"{text(name)}: {text(part)}" for name, part in value.items()]
        return f"{default}{{{', '.join(pairs)}}}{attributes}"
    if isinstance(value, list | tuple):
        items = ", ".join(map(text, value))
        return f"({items}){attributes}" if isinstance(value, tuple) else f"[{items}]{attributes}"
    return attributes + _inside(value, text) if attributes else _inside(value, text) or _reduced(value, text)


def _attributes(value: object, text: Text) -> str:
    found = attributes_of(value)
    if isinstance(value, enum.Enum):
        found = {name: part for name, part in found.items() if name not in OF_ENUMERATIONS}
    if any(base.__module__.startswith("pandas.") for base in type(value).__mro__):
        found = {name: part for name, part in found.items() if name not in FOUND_BY_PANDAS}
    return "".join(f" {name}={text(found[name])}" for name in sorted(found))


def attributes_of(value: object) -> dict[str, object]:
    """Return what an object holds by name, in slots too, private ones as Python stores them."""
    found = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for slot in [slots] if isinstance(slots, str) else slots:
            is_private = slot.startswith("__") and not slot.endswith("__")
            name = f"_{base.__name__.lstrip('_')}{slot}" if is_private else slot
            if name not in {"__dict__", "__weakref__"} and hasattr(value, name):
                found[name] = getattr(value, name)
    return found


def _inside(value: object, text: Text) -> str:
    """Describe what a compiled class keeps where neither its attributes nor pickle show it; "" where it is no such."""
    match value:
        case ContextVar():
            return f" {value.name} = {_held_by(value, text)}"
        case Struct():
            return f" {value.format!r}"
        case torch.finfo() | torch.iinfo():
            return f" {value.dtype}"
        case memoryview():
            return f" {value.format} {value.shape} {text(value.tobytes())}"
        case KeysView() | ValuesView() | ItemsView():
            return f" {text(list(value))}"
        case np.ufunc() if "(vectorized)" in value.__name__:
            raise CacheError(
                f"a function of np.frompyfunc ({value.__name__}) hides the code that it calls, so it cannot be part of "
                "a cache key: use np.vectorize, or train without a cache (--no-cache)"
            )
    if _is_picture(value):
        return f" {text(value.__getstate__())}"
    hidden = [base for base in type(value).__mro__ if not base.__flags__ & HEAP_TYPE and base is not object]
    return _reduced(value, text) if hidden and type(value).__flags__ & HEAP_TYPE else ""


def _held_by(variable: ContextVar[object], text: Text) -> str:
    try:
        return text(variable.get())
    except LookupError:
        return "nothing"


def _is_picture(value: object) -> bool:
    """Whether it is one of Pillow's, which is not imported for that."""
    return any((base.__module__, base.__name__) == ("PIL.Image", "Image") for base in type(value).__mro__)


def _reduced(value: object, text: Text) -> str:
    """Describe what a compiled class keeps inside by how `pickle` would build the object again."""
    if isinstance(value, UNDESCRIBED):
        return ""
    try:
        return text(value.__reduce_ex__(2))
    except (TypeError, AttributeError, RuntimeError, ValueError):  # a lock, a file, a handle: its class says it
        return ""

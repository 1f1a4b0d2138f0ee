"""Containers and objects as text, by their parts: items, attributes, and what pickle would build the object from."""

import enum
import random
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from reuse.fingerprinting.digests import short

NUMBERS = (int, float, complex, str, bytes)
# State that moves on, and no computation.
UNDESCRIBED = (torch.Generator, weakref.ref, random.Random, np.random.Generator, np.random.RandomState, Iterator)

Text = Callable[[object], str]
"""Describes any value."""


def parts_text(value: object, text: Text) -> str:
    """Return the description of a container's items or an object's attributes, less that of its class.

    Args:
        value: what has no description of its own.
        text: describes the parts.
    """
    attributes = _attributes(value, text)
    if isinstance(value, enum.Enum):
        return f"{value.name} = {text(value.value)}"
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
    return attributes or _reduced(value, text)


def _attributes(value: object, text: Text) -> str:
    found = dict(getattr(value, "__dict__", {}))
    slots = (getattr(kind, "__slots__", ()) for kind in type(value).__mro__)
    for name in (name for group in slots for name in ([group] if isinstance(group, str) else group)):
        if hasattr(value, name) and name not in {"__dict__", "__weakref__"}:
            found[name] = getattr(value, name)
    return "".join(f" {name}={text(found[name])}" for name in sorted(found))


def _reduced(value: object, text: Text) -> str:
    """Describe what a compiled class keeps inside by how `pickle` would build the object again."""
    if isinstance(value, UNDESCRIBED):
        return ""
    try:
        return text(value.__reduce_ex__(2))
    except (TypeError, AttributeError, RuntimeError, ValueError):  # a lock, a file, a handle: its class says it
        return ""

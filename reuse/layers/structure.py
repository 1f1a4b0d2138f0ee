"""The tensors in a value, whatever holds them: lists, tuples, mappings, dataclasses, outputs of other libraries."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, fx
from torch.utils._pytree import SUPPORTED_NODES, tree_flatten, tree_unflatten

Rebuild = Callable[[list[Any]], Any]
Layout = tuple[Rebuild, list[Any]] | None
"""Function that makes a container of its parts, and the layouts of these; None for a value that holds nothing."""


def children(value: Any) -> tuple[list[Any], Rebuild] | None:
    """Return what a container holds and how it is made of that again; None where a value holds nothing.

    torch knows the containers of Python, and those that other libraries registered with it.
    """
    if _is_known(value):
        held, spec = tree_flatten(value, is_leaf=lambda part: part is not value)
        return held, lambda parts: tree_unflatten(parts, spec)
    kind = type(value)
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.init]
        return [getattr(value, n) for n in names], lambda parts: kind(**dict(zip(names, parts, strict=True)))
    if isinstance(value, Mapping):
        keys = list(value)
        return [value[key] for key in keys], lambda parts: kind(dict(zip(keys, parts, strict=True)))
    return None


def leaves(value: Any) -> list[Any]:
    """Return what a value holds that holds nothing itself, in order."""
    held = children(value)
    return [value] if held is None else [leaf for part in held[0] for leaf in leaves(part)]


def layout(value: Any) -> Layout:
    """Return how a value is made of its leaves."""
    held = children(value)
    return None if held is None else (held[1], [layout(part) for part in held[0]])


def made(how: Layout, parts: Iterator[Any]) -> Any:
    """Return a value that is made of leaves, taken in order."""
    return next(parts) if how is None else how[0]([made(part, parts) for part in how[1]])


class Remake:
    """Function that makes a container of its leaves again."""

    def __init__(self, how: Layout, kind: type):
        self.layout = how
        self.__name__ = self.__qualname__ = f"remake_{kind.__name__}"
        self.__module__ = __name__

    def __call__(self, *parts: Any) -> Any:
        """Return the container."""
        return made(self.layout, iter(parts))


def graph_argument(graph: fx.Graph, value: Any) -> Any:
    """Return a value as an argument of a node; a container that torch.fx does not keep is made by a call."""
    held = children(value)
    if held is None:
        return value
    parts = [graph_argument(graph, part) for part in held[0]]
    if type(value) in (list, tuple, dict):
        return held[1](parts)
    return graph.call_function(Remake((held[1], [None] * len(parts)), type(value)), tuple(parts))


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Return a value like this one, with each leaf replaced by what a function makes of it."""
    held = children(value)
    return function(value) if held is None else held[1]([mapped(function, part) for part in held[0]])


def map_tensors(function: Callable[[Tensor], Any], value: Any) -> Any:
    """Return a value like this one, with each tensor replaced by what a function makes of it."""
    return mapped(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, value)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a value: itself, or those that it holds."""
    return (leaf for leaf in leaves(value) if isinstance(leaf, Tensor))


def _is_known(value: Any) -> bool:
    if type(value) in SUPPORTED_NODES:
        return True
    return isinstance(value, tuple) and (hasattr(value, "_fields") or hasattr(value, "n_sequence_fields"))

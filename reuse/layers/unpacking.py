"""Containers of tensors that cross from prefix to suffix: each tensor is stored, and the container made again."""

from typing import Any

from torch import Tensor, fx

from reuse.layers.constancy import ObservedGraph
from reuse.layers.sequences import holds_packed
from reuse.layers.structure import Remake, children, layout, leaves


def leaf(value: Any, number: int) -> Any:
    """Return one leaf of a container, by its number."""
    return leaves(value)[number]


def is_container(value: Any) -> bool:
    """Return whether a value holds tensors without being one; not of packed sequences, whose steps are no row's own."""
    if isinstance(value, Tensor) or holds_packed(value):
        return False
    return any(isinstance(part, Tensor) for part in leaves(value))


def unpack(node: fx.Node, observed: ObservedGraph, prefix: set[fx.Node]) -> None:
    """Put the leaves of a container between it and those that use it behind the cut.

    Args:
        node: its value is a container, on both batches of one structure.
        observed: its graph, which is changed, and what it did, to which the new nodes are added.
        prefix: the nodes in front of the cut; the leaves join them.
    """
    graph, seen = observed.traced.graph, (observed.small, observed.large)
    parts: list[fx.Node] = []
    value, place = observed.small.values[node], node
    for number in range(len(leaves(value))):
        with graph.inserting_after(place):
            place = graph.call_function(leaf, (node, number), name=f"{node.name}_{number}")
        parts.append(place)
        for one in seen:
            one.values[place] = leaf(one.values[node], number)
    with graph.inserting_after(place):
        again = graph.call_function(Remake(layout(value), type(value)), tuple(parts), name=f"{node.name}_again")
    for one in seen:
        one.values[again] = one.values[node]
    for user in list(node.users):
        if user not in prefix and user not in parts:
            user.replace_input_with(node, again)
    for one in seen:
        for written in one.writes.values():
            if node in written:
                written += [*parts, again]
    prefix.update(parts)
    observed.forget_order()


def same_structure(small: Any, large: Any) -> bool:
    """Return whether two values hold leaves in the same places."""
    ours, theirs = children(small), children(large)
    if ours is None or theirs is None:
        return ours is None and theirs is None
    parts = len(ours[0]) == len(theirs[0]) and type(small) is type(large)
    return parts and all(map(same_structure, ours[0], theirs[0]))

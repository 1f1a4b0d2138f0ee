"""The frontier of a cut: values that cross from prefix to suffix, found on the training and the evaluation graph."""

from typing import Any

from torch import Tensor, fx, nn

from reuse.layers.crossing import NotStorable, Same
from reuse.layers.divided_graph import DividedGraph, form_of
from reuse.layers.remaking import computed_again
from reuse.layers.unpacking import is_container, leaf, same_structure, unpack


def find_crossing(side: DividedGraph, model: nn.Module) -> None:
    """Fill in what crosses on one side, pulling into the suffix what cannot cross or follows from the rest."""
    while True:
        unstorable = _fill_crossing(side)
        redundant = set() if unstorable else computed_again(side, model)
        for node in unstorable | redundant:
            side.prefix.discard(node)
            side.pulled.add(node)
        if not (unstorable or redundant):
            _refuse_early_readers(side)
            return


def _refuse_early_readers(side: DividedGraph) -> None:
    """Raise where the suffix reads what the prefix writes into later: it crosses as the prefix leaves it."""
    suffix = set(side.needed_suffix())
    for writer, written in side.observed.small.writes.items():
        early = {user for node in written for user in node.users if side.order[user] < side.order[writer]}
        if writer in side.prefix and early & suffix:
            raise NotStorable(f"{writer.name!r} writes in place into what is read behind the cut as it was before")


def _fill_crossing(side: DividedGraph) -> set[fx.Node]:
    """Note the form of everything that crosses; return the nodes that have none."""
    side.crossing = {}
    unstorable: set[fx.Node] = set()
    for node in side.needed_suffix():
        for argument in node.all_input_nodes:
            if argument in side.prefix and argument.op != "get_attr" and argument not in side.crossing:
                form = form_of(argument, side.observed)
                if form is None:
                    unstorable.add(argument)
                else:
                    side.crossing[argument] = form
    containers = [node for node in unstorable if _can_be_unpacked(node, side)]
    if containers:
        for node in containers:
            unpack(node, side.observed, side.prefix)
        return _fill_crossing(side)
    placeholders = {node for node in unstorable if node.op == "placeholder"}
    if placeholders:
        raise NotStorable(f"the input {placeholders.pop().name!r} has no batch dimension that could be followed")
    _cross_once(side)
    return unstorable


def _can_be_unpacked(node: fx.Node, side: DividedGraph) -> bool:
    small, large = side.observed.small.values[node], side.observed.large.values[node]
    whole = any(user not in side.prefix and user.target is not leaf for user in node.users)
    return whole and is_container(small) and same_structure(small, large)


def _cross_once(side: DividedGraph) -> None:
    """Let nodes whose values are one and the same tensor cross together."""
    seen = (side.observed.small, side.observed.large)
    first: dict[tuple[Any, ...], fx.Node] = {}
    for node in sorted(side.frontier(), key=side.order.__getitem__):
        key = tuple(_identity(one.values[node]) for one in seen)
        if first.setdefault(key, node) is not node and not any(node in one.written for one in seen):
            side.crossing[node] = Same(first[key])


def _identity(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr() or id(tensor), tensor.dtype, tensor.shape, tensor.stride()

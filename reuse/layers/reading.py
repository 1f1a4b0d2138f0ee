"""What the steps of a graph read of tensors: their shapes and types alone, or the values of the rows too."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, fx

from reuse.layers.structure import tensors_in

_SHAPES = {"size", "dim", "numel", "ndimension", "new", "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"}
_SHAPES |= {"zeros_like", "ones_like", "full_like", "empty_like", "sym_size", "sym_numel", "len"}
_LIKE = {"type_as", "to", "expand_as", "view_as", "reshape_as"}  # of the second tensor they take no values
_NUMBERS = {"item", "tolist", "equal", "allclose", "is_nonzero", "_local_scalar_dense"}


def reads_shape(node: fx.Node) -> bool:
    """Return whether a node takes the shape, type or device of a tensor, and none of its values."""
    if node.op not in ("call_method", "call_function"):
        return False
    if node.target is getattr:
        return node.args[1] in ("shape", "dtype", "device", "ndim", "layout")
    return _name(node) in _SHAPES


def nodes_of_rows(
    nodes: Iterable[fx.Node],
    small: Mapping[fx.Node, Any],
    large: Mapping[fx.Node, Any],
    has_tensors: Callable[[fx.Node], bool],
) -> set[fx.Node]:
    """Return the nodes whose values come from those of the inputs' rows.

    A layer with tensors of its own that returns the same for other rows, as a table of positions does, is taken to have
    read their shape.

    Args:
        nodes: of a graph, in order.
        small: what they returned on a smaller batch.
        large: what they returned on a larger one.
        has_tensors: whether the layer that a node calls has tensors of its own.
    """
    found: set[fx.Node] = set()
    for node in nodes:
        told = node.all_input_nodes[:1] if _name(node) in _LIKE else node.all_input_nodes
        same = node.op == "call_module" and without_rows(small.get(node), large.get(node))
        reads = any(argument in found for argument in told) and not reads_shape(node)
        reads = reads and not (same and has_tensors(node))
        if node.op == "placeholder" or (
            reads and (_name(node) in _NUMBERS or next(tensors_in(small.get(node)), None) is not None)
        ):
            found.add(node)
    return found


def without_rows(few: Any, many: Any) -> bool:
    """Return whether two values, of a smaller and of a larger batch, are tensors that hold no rows."""
    return isinstance(few, Tensor) and isinstance(many, Tensor) and few.shape == many.shape


def _name(node: fx.Node) -> str:
    if isinstance(node.target, str):
        return node.target
    return str(getattr(getattr(node.target, "overloadpacket", node.target), "__name__", ""))

"""What is computed again behind a cut, as it follows from less than would have to be stored of it."""

import operator

import torch
from torch import Tensor, fx, nn

from reuse.layers.constancy import holds_frozen
from reuse.layers.crossing import BatchDimension, NotStorable
from reuse.layers.divided_graph import DividedGraph, form_of, holds_rows, stored
from reuse.layers.structure import tensors_in
from reuse.layers.trainability import module_called
from reuse.layers.unpacking import leaf

LIGHT_STEPS = {
    *("chunk", "split", "split_with_sizes", "tensor_split", "unbind", "select", "slice", "narrow", "index_select"),
    *("view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "movedim", "swapaxes", "squeeze"),
    *("unsqueeze", "expand", "expand_as", "repeat", "repeat_interleave", "tile", "contiguous", "clone", "roll", "flip"),
    *("to", "type", "float", "double", "half", "bfloat16", "_to_copy", "pad", "constant_pad_nd", "interpolate"),
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_bilinear2d", "pixel_shuffle"),
}
"""Steps of torch's that move, repeat or widen values, by name."""

LIGHT_FUNCTIONS = {
    operator.getitem,
    leaf,
    *(getattr(torch, name) for name in LIGHT_STEPS if hasattr(torch, name)),
    *(getattr(nn.functional, name) for name in LIGHT_STEPS if hasattr(nn.functional, name)),
}
LIGHT_MODULES = {
    nn.Upsample,
    nn.UpsamplingNearest2d,
    nn.UpsamplingBilinear2d,
    nn.ZeroPad2d,
    nn.ReflectionPad2d,
    nn.Flatten,
}


def computed_again(side: DividedGraph, model: nn.Module) -> set[fx.Node]:
    """Return nodes of the prefix that the suffix is to compute too, so that less is stored; none: nothing is gained."""
    return _redundant(side, model) or _pieces(side, model) or _remade(side, model)


def _redundant(side: DividedGraph, model: nn.Module) -> set[fx.Node]:
    """Return frontier nodes without parameters that follow in one step from other frontier tensors as they are left."""
    seen = side.observed.small
    frontier = set(side.frontier())
    for node in sorted(frontier, key=side.order.__getitem__, reverse=True):
        sources = [a for a in node.all_input_nodes if a.op != "get_attr" and _has_tensor(seen.values[a])]
        free = node.op != "placeholder" and not holds_frozen(node, model) and node not in seen.writes
        if free and sources and (frontier - seen.written - {node}).issuperset(sources):
            return {node}
    return set()


def _pieces(side: DividedGraph, model: nn.Module) -> set[fx.Node]:
    """Return frontier nodes that one step makes of a tensor that is smaller than they are together.

    A map is stored before it is drawn larger or repeated, and a sequence that is gone through step by step as a whole.
    """
    pieces: dict[fx.Node, list[tuple[fx.Node, set[fx.Node]]]] = {}
    for node in side.frontier():
        source, between = _taken_from(node, side, model)
        if source is not None:
            pieces.setdefault(source, []).append((node, between))
    for source, some in pieces.items():
        size = sum(_row_bytes(node, side) for node, _ in some)
        if isinstance(form_of(source, side.observed), BatchDimension) and _row_bytes(source, side) < size + (
            len(some) > 1
        ):
            return set().union(*(between for _, between in some))
    return set()


def _taken_from(node: fx.Node, side: DividedGraph, model: nn.Module) -> tuple[fx.Node | None, set[fx.Node]]:
    """Return the one tensor of the prefix that a node is made of by a step of torch's, and the nodes up to it."""
    seen, found = side.observed.small, {node}
    while _is_light(node, model) and node not in {*seen.writes, *seen.written}:
        sources = [a for a in node.all_input_nodes if _has_tensor(seen.values[a])]
        if len(sources) != 1 or sources[0] not in side.prefix or sources[0].op == "get_attr":
            break
        (node,) = sources
        if isinstance(seen.values[node], Tensor):
            return (None if node in seen.written else node), found
        found.add(node)  # a container of what was split
    return None, set()


def _is_light(node: fx.Node, model: nn.Module) -> bool:
    """Return whether a node is a step of torch's that moves, repeats or widens values and computes nothing."""
    if node.op == "call_module":
        return type(module_called(node, model)) in LIGHT_MODULES
    if node.op == "call_method":
        return node.target in LIGHT_STEPS
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target.namespace == "aten" and node.target.__name__.partition(".")[0] in LIGHT_STEPS
    return node.op == "call_function" and node.target in LIGHT_FUNCTIONS


def _remade(side: DividedGraph, model: nn.Module) -> set[fx.Node]:
    """Return what leads to a frontier node from whole numbers of the inputs that are smaller, such as a mask's.

    A mask of tokens is expanded to their pairs, and a bias of positions added, before attention reads it: that takes no
    time, and is as large as the square of what it comes from, or as many times that as there are heads.
    """
    for node in sorted(side.frontier(), key=side.order.__getitem__, reverse=True):
        try:
            found, inputs = _traced_back(node, side, model)
        except NotStorable:
            continue
        new = inputs - set(side.frontier())
        if found and sum(_row_bytes(one, side) for one in new) < _row_bytes(node, side):
            return found
    return set()


def _traced_back(node: fx.Node, side: DividedGraph, model: nn.Module) -> tuple[set[fx.Node], set[fx.Node]]:
    """Return the nodes that compute a node without frozen layers, itself included, and the inputs that they read.

    Raises:
        NotStorable: other inputs than whole numbers lead there, frozen layers that see rows, or writes in place.
    """
    seen, written = side.observed.small, side.observed.small.written
    found: set[fx.Node] = set()
    inputs: set[fx.Node] = set()
    todo = [node]
    while todo:
        one = todo.pop()
        if one in written:  # what crosses is as it was left, or as it began: not as it was when it was read
            raise NotStorable
        if one in found or one.op == "get_attr" or one not in side.prefix or _crosses_whole(one, side):
            continue
        if one.op == "placeholder":
            if not isinstance(seen.values[one], Tensor) or seen.values[one].is_floating_point():
                raise NotStorable
            inputs.add(one)
            continue
        if holds_frozen(one, model) or one in seen.writes:
            raise NotStorable
        found.add(one)
        todo += one.all_input_nodes
    return found, inputs


def _crosses_whole(node: fx.Node, side: DividedGraph) -> bool:
    """Return whether a node's value is no row's own, so that nothing is stored of it row by row."""
    form = form_of(node, side.observed)
    return form is not None and not holds_rows(form)


def _row_bytes(node: fx.Node, side: DividedGraph) -> int:
    return stored(node, side.observed).row_bytes


def _has_tensor(value: object) -> bool:
    return next(tensors_in(value), None) is not None

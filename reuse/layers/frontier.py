"""The frontier of a cut: values that cross from prefix to suffix, found on the training and the evaluation graph."""

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from reuse.layers.constancy import ObservedGraph, holds_frozen
from reuse.layers.crossing import BatchDimension, Form, NotStorable, Same, crossing_form, without_values
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.layers.structure import tensors_in
from reuse.layers.unpacking import is_container, leaf, same_structure, unpack

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


@dataclass
class DividedGraph:
    """One graph (training or evaluation) divided into prefix and suffix.

    Attributes:
        observed: the graph, with what its nodes did on two batches.
        prefix: its nodes that the prefix computes.
        pulled: constant nodes that the suffix computes all the same, because they cannot be stored or need not be.
        crossing: what the suffix takes from the prefix, by node, frozen parameters apart.
    """

    observed: ObservedGraph
    prefix: set[fx.Node]
    pulled: set[fx.Node] = field(default_factory=set)
    crossing: dict[fx.Node, Form] = field(default_factory=dict)

    @property
    def order(self) -> dict[fx.Node, int]:
        """The place of each node."""
        return self.observed.order

    @property
    def signatures(self) -> dict[fx.Node, str]:
        """A digest of the whole computation behind each node."""
        return self.observed.signatures

    def needed_suffix(self) -> list[fx.Node]:
        """Return the nodes that the suffix has to run, in order: for the output, and to move the model's buffers."""
        output = next(iter(reversed(self.observed.traced.graph.nodes)))
        return self.needed_suffix_of([output, *self.observed.small.stateful])

    def needed_suffix_of(self, wanted: Iterable[fx.Node]) -> list[fx.Node]:
        """Return the nodes of the suffix that compute `wanted`, in order."""
        return self._needed(wanted, lambda node: node not in self.prefix)

    def needed_prefix(self, wanted: Iterable[fx.Node]) -> list[fx.Node]:
        """Return the nodes that compute `wanted`, in order."""
        return self._needed(wanted, lambda node: node in self.prefix or node in self.pulled)

    def _needed(self, wanted: Iterable[fx.Node], belongs: Callable[[fx.Node], bool]) -> list[fx.Node]:
        """Close `wanted` over arguments and over writers in place of what is needed."""
        writers = self.observed.small.writers()
        needed: set[fx.Node] = set()
        todo = list(wanted)
        while todo:
            node = todo.pop()
            if node in needed or not belongs(node):
                continue
            needed.add(node)
            todo += node.all_input_nodes
            for touched in (node, *node.all_input_nodes):
                todo += writers.get(touched, [])
        return sorted(needed, key=self.order.__getitem__)

    def frontier(self) -> list[fx.Node]:
        """Return the nodes with a tensor stored row by row among what crosses."""
        return [node for node, form in self.crossing.items() if _holds_rows(form)]


def find_crossing(side: DividedGraph, model: nn.Module) -> None:
    """Fill in what crosses on one side, pulling into the suffix what cannot cross or follows from the rest."""
    while True:
        unstorable = _fill_crossing(side)
        redundant = set() if unstorable else _redundant(side, model) or _pieces(side, model) or _remade(side, model)
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


def batch_dimension(node: fx.Node, observed: ObservedGraph) -> BatchDimension:
    """Return the dimension of a frontier tensor that holds the rows."""
    form = crossing_form(observed.small.values[node], observed.large.values[node], observed.rows)
    assert isinstance(form, BatchDimension)
    return form


def stored(node: fx.Node, observed: ObservedGraph) -> FrontierTensor:
    """Return what is stored of a node's value for one row."""
    value, form = observed.small.values[node], batch_dimension(node, observed)
    shape = list(value.shape)
    rest = shape[: form.dimension] + shape[form.dimension + 1 :]
    fold = [] if form.fold == 1 else [form.fold]
    if fold:
        rest.insert(form.dimension, form.fold)
    return FrontierTensor(node.name, tuple(rest), value.dtype)


def _fill_crossing(side: DividedGraph) -> set[fx.Node]:
    """Note the form of everything that crosses; return the nodes that have none."""
    side.crossing = {}
    unstorable: set[fx.Node] = set()
    for node in side.needed_suffix():
        for argument in node.all_input_nodes:
            if argument in side.prefix and argument.op != "get_attr" and argument not in side.crossing:
                try:
                    side.crossing[argument] = _form(argument, side.observed)
                except NotStorable:
                    unstorable.add(argument)
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


def _form(node: fx.Node, observed: ObservedGraph) -> Form:
    """Return the crossing form of a node, compared once: it is asked for at every place where a model could be cut."""
    if node not in observed.forms:
        try:
            observed.forms[node] = _compared(node, observed)
        except NotStorable:
            observed.forms[node] = None
    form: Form | None = observed.forms[node]
    if form is None:
        raise NotStorable
    return form


def _compared(node: fx.Node, observed: ObservedGraph) -> Form:
    """Return the crossing form of a node; a list of stored tensors does not cross whole, its items do."""
    large = observed.large.values[node]
    form = crossing_form(observed.small.values[node], large, observed.rows)
    if not isinstance(form, BatchDimension) and _holds_rows(form):
        raise NotStorable
    return without_values(large, form) if node in observed.without_values else form


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
        if _is_storable(source, side) and _row_bytes(source, side) < size + (len(some) > 1):
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
        return type(dict(model.named_modules()).get(str(node.target))) in LIGHT_MODULES
    if node.op == "call_method":
        return node.target in LIGHT_STEPS
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target.namespace == "aten" and node.target.__name__.partition(".")[0] in LIGHT_STEPS
    return node.op == "call_function" and node.target in LIGHT_FUNCTIONS


def _is_storable(node: fx.Node, side: DividedGraph) -> bool:
    try:
        return isinstance(_form(node, side.observed), BatchDimension)
    except NotStorable:
        return False


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
    try:
        return not _holds_rows(_form(node, side.observed))
    except NotStorable:
        return False


def _row_bytes(node: fx.Node, side: DividedGraph) -> int:
    return stored(node, side.observed).row_bytes


def _has_tensor(value: object) -> bool:
    return next(tensors_in(value), None) is not None


def _holds_rows(form: object) -> bool:
    return any(isinstance(part, BatchDimension) for part in _parts(form))


def _parts(form: object) -> Iterator[object]:
    if isinstance(form, list | tuple):
        for part in form:
            yield from _parts(part)
    elif isinstance(form, dict):
        yield from _parts(list(form.values()))
    else:
        yield form

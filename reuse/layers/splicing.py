"""Building the graphs of prefix and suffix from a divided graph. Both share the model's own modules and parameters."""

from collections.abc import Collection, Sequence
from keyword import iskeyword
from typing import Any

import torch
from torch import Tensor, fx, nn

from reuse.layers.crossing import BatchDimension, BatchSize, Constant, Form, Repeated, Same, Shape
from reuse.layers.divided_graph import DividedGraph, batch_dimension
from reuse.layers.guarding import RowGuard
from reuse.layers.suffix import RENAMED


def build_prefix(side: DividedGraph, model: nn.Module, frontier: Sequence[fx.Node]) -> fx.GraphModule:
    """Return a module that computes the frontier: model inputs in, a tuple of tensors `(batch, *shape)` out."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    needed = set(side.needed_prefix(frontier))
    for node in side.observed.traced.graph.nodes:
        if node in needed or node.op == "placeholder":
            copies[node] = graph.node_copy(node, lambda n: copies[n])
    graph.output(tuple(_rows_first(graph, copies[n], batch_dimension(n, side.observed)) for n in frontier))
    prefix = _module(graph, side, model, {}, "Prefix")
    given = side.observed.small.values
    expected = {str(n.target): given[n] for n in side.order if n.op == "placeholder"}
    prefix.register_forward_pre_hook(RowGuard(expected), with_kwargs=True)
    return prefix


def build_suffix(side: DividedGraph, model: nn.Module, frontier: list[str]) -> fx.GraphModule:
    """Return a module that computes the model's output from the frontier tensors.

    Args:
        side: the divided graph of one mode.
        model: the model.
        frontier: the signatures of all frontier tensors in the order in which they are given.
    """
    graph = fx.Graph()
    _, constants = _copy_onwards(graph, side, frontier, side.needed_suffix())
    _switch_gradients(graph)
    return _module(graph, side, model, constants, "SuffixGraph")


def reaches(side: DividedGraph, deeper: Collection[fx.Node]) -> bool:
    """Return whether a bridge from this cut to these nodes of a deeper one needs nothing else of the inputs."""
    needed = side.needed_suffix_of(deeper)
    known = {*side.crossing, *needed}
    arguments = (argument for node in needed for argument in node.all_input_nodes if argument.op != "get_attr")
    return known.issuperset(deeper) and known.issuperset(arguments)


def build_bridge(
    side: DividedGraph, model: nn.Module, frontier: list[str], deeper: dict[fx.Node, BatchDimension]
) -> fx.GraphModule:
    """Return a module that computes the frontier of a deeper cut from that of an earlier one that `reaches` it.

    Args:
        side: the graph as the earlier cut divides it.
        model: the model.
        frontier: signatures of the earlier frontier, in the order in which its tensors are given.
        deeper: the nodes of the deeper frontier, in order, and how each holds the rows.
    """
    graph = fx.Graph()
    copies, constants = _copy_onwards(graph, side, frontier, side.needed_suffix_of(deeper))
    graph.output(tuple(_rows_first(graph, copies[node], form) for node, form in deeper.items()))
    return _module(graph, side, model, constants, "Bridge")


def _copy_onwards(
    graph: fx.Graph, side: DividedGraph, frontier: list[str], needed: list[fx.Node]
) -> tuple[dict[fx.Node, Any], dict[str, Tensor]]:
    """Copy into a graph what a side computes behind its frontier; return each node's copy, and constants by name."""
    inputs = {name: graph.placeholder(f"frontier_{i}") for i, name in enumerate(frontier)}
    materializer = _Materializer(graph, inputs[frontier[0]])
    copies: dict[fx.Node, Any] = {}
    for node in side.frontier():
        given = inputs[side.signatures[node]]
        copies[node] = _as_before(graph, given, side.crossing[node], _is_written(node, side, needed))
    for node, form in side.crossing.items():
        if node not in copies and not isinstance(form, Same):
            made = copies[node] = materializer.make(form)
            is_tensor = isinstance(form, Repeated) or (isinstance(form, Constant) and isinstance(made, fx.Node))
            if is_tensor and _is_written(node, side, needed):
                copies[node] = graph.call_method("clone", (made,))
    copies |= {node: copies[form.node] for node, form in side.crossing.items() if isinstance(form, Same)}
    for node in needed:
        for argument in node.all_input_nodes:
            if argument.op == "get_attr" and argument not in copies:
                copies[argument] = graph.node_copy(argument)
        if node not in copies:
            copies[node] = _copy(graph, node, copies)
    return copies, materializer.constants


class _Materializer:
    """Builder of what crosses without being stored, and is made again in the suffix."""

    def __init__(self, graph: fx.Graph, anchor: fx.Node):
        self.graph = graph
        self.anchor = anchor
        self.size: fx.Node | None = None
        self.constants: dict[str, Tensor] = {}

    def make(self, form: Form) -> Any:
        if isinstance(form, Constant):
            return self._constant(form.value) if isinstance(form.value, Tensor) else form.value
        if isinstance(form, Repeated):
            sizes: list[Any] = [-1] * form.row.dim()
            sizes[form.dimension] = self._times(1)
            return self.graph.call_method("expand", (self._constant(form.row), *sizes))
        if isinstance(form, BatchSize):
            return self._times(form.factor)
        if isinstance(form, Shape):
            return self.graph.call_function(torch.Size, (tuple(self.make(part) for part in form.parts),))
        if isinstance(form, dict):
            return {key: self.make(part) for key, part in form.items()}
        assert isinstance(form, list | tuple)
        return type(form)(self.make(part) for part in form)

    def _times(self, factor: int) -> fx.Node:
        if self.size is None:
            self.size = self.graph.call_method("size", (self.anchor, 0))
        return self.size if factor == 1 else self.graph.call_function(_multiply, (self.size, factor))

    def _constant(self, value: Tensor) -> fx.Node:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = value.clone()
        return self.graph.get_attr(name)


def _multiply(a: int, b: int) -> int:
    return a * b


def _rows_first(graph: fx.Graph, node: fx.Node, form: Form) -> fx.Node:
    assert isinstance(form, BatchDimension)
    if form.fold != 1:
        node = graph.call_method("unflatten", (node, form.dimension, form.parted(-1)))
    return graph.call_method("movedim", (node, form.of_rows, 0)) if form.of_rows else node


def _as_before(graph: fx.Graph, node: fx.Node, form: Form, written: bool) -> fx.Node:
    """Undo `_rows_first`; a tensor that the suffix writes into is copied, so that the cache is not."""
    assert isinstance(form, BatchDimension)
    if written:
        node = graph.call_method("clone", (node,))
    if form.of_rows:
        node = graph.call_method("movedim", (node, 0, form.of_rows))
    if form.fold != 1:
        node = graph.call_method("flatten", (node, form.dimension, form.dimension + 1))
    return node


def _is_written(node: fx.Node, side: DividedGraph, needed: list[fx.Node]) -> bool:
    running = set(needed)
    return any(node in written for writer, written in side.observed.small.writes.items() if writer in running)


def _copy(graph: fx.Graph, node: fx.Node, copies: dict[fx.Node, Any]) -> fx.Node:
    """Copy a node whose arguments may have become plain values."""
    arguments, keywords = fx.node.map_arg((node.args, node.kwargs), lambda n: copies[n])
    if node.op == "output":
        arguments = (arguments[0],)
    copy = graph.create_node(node.op, node.target, arguments, keywords, node.name)
    copy.meta[_WITHOUT] = node.meta.get(_WITHOUT, False)
    return copy


_WITHOUT = "without_gradients"  # what a tracer notes of a node


def _switch_gradients(graph: fx.Graph) -> None:
    """Switch gradients off before the nodes that were traced without, and to what they were behind them."""
    before: fx.Node | None = None
    for node in list(graph.nodes):
        if node.op in ("placeholder", "get_attr"):
            continue
        without = bool(node.meta.get(_WITHOUT))
        with graph.inserting_before(node):
            if without and before is None:
                before = graph.call_function(torch.is_grad_enabled)
                graph.call_function(torch._C._set_grad_enabled, (False,))
            elif before is not None and not without:
                graph.call_function(torch._C._set_grad_enabled, (before,))
                before = None


def _module(
    graph: fx.Graph, side: DividedGraph, model: nn.Module, constants: dict[str, Tensor], name: str
) -> fx.GraphModule:
    known = side.observed.targets
    root: dict[str, Any] = {}
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            target = str(node.target)
            node.target = _usable(target)
            root[node.target] = constants[target] if target in constants else known[target]
            if node.target != target:
                renamed[node.target] = target
    module = fx.GraphModule(root, graph, class_name=name)
    module.meta[RENAMED] = renamed
    module.train(model.training)
    return module


def _usable(target: str) -> str:
    """Return a name under which a graph module can hold something: its own are taken, and Python's words, too."""
    atoms = target.split(".")
    if not target or hasattr(_EMPTY, atoms[0]) or any(map(iskeyword, atoms)):
        return f"of_model_{'_'.join(atoms)}"
    return target


_EMPTY = fx.GraphModule(nn.Module(), fx.Graph())

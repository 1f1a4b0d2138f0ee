"""Building prefix and suffix modules from a divided graph. Both share the model's own modules and parameters."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from reuse.layers.crossing import BatchDimension, BatchSize, Constant, Form, Shape
from reuse.layers.frontier import DividedGraph


class Suffix(nn.Module):
    """The rest of a model after its frontier: takes the frontier tensors and returns what the model returns.

    It holds a training and an evaluation graph and follows the mode of the model; `train()` and `eval()` set that of
    the model. Its parameters are the model's own, under the model's names.
    """

    graphs: tuple[fx.GraphModule, fx.GraphModule]
    model: nn.Module

    def __init__(self, model: nn.Module, training_graph: fx.GraphModule, evaluation_graph: fx.GraphModule):
        super().__init__()
        # Held outside the module tree: the graphs share modules, which would appear twice in `named_parameters`.
        object.__setattr__(self, "graphs", (training_graph, evaluation_graph))
        object.__setattr__(self, "model", model)
        for graph in (training_graph, evaluation_graph):
            for name, child in graph.named_children():
                if name not in self._modules:
                    self.add_module(name, child)
            for name, parameter in graph._parameters.items():
                self.register_parameter(name, parameter)
            for name, buffer in graph._buffers.items():
                self.register_buffer(name, buffer)

    def forward(self, *frontier: Tensor) -> Any:
        """Compute what the model returns from the frontier tensors, each `(batch, *shape)`."""
        training, evaluation = self.graphs
        # Not called as a module: nobody else has these, so there are no hooks, which take longer than a small head.
        return (training if self.model.training else evaluation).forward(*frontier)

    def train(self, mode: bool = True) -> "Suffix":
        """Set the mode of the whole model; frozen layers stay in evaluation mode."""
        self.training = mode
        self.model.train(mode)
        return self


def build_prefix(side: DividedGraph, model: nn.Module, frontier: Sequence[fx.Node]) -> fx.GraphModule:
    """Return a module that computes the frontier: model inputs in, a tuple of tensors `(batch, *shape)` out."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    needed = set(side.needed_prefix(frontier))
    for node in side.observed.traced.graph.nodes:
        if node in needed or node.op == "placeholder":
            copies[node] = graph.node_copy(node, lambda n: copies[n])
    graph.output(tuple(_rows_first(graph, copies[n], side.crossing.get(n) or BatchDimension(0, 1)) for n in frontier))
    return _module(graph, side, model, {}, "Prefix")


def build_suffix(side: DividedGraph, model: nn.Module, frontier: list[str]) -> fx.GraphModule:
    """Return a module that computes the model's output from the frontier tensors.

    Args:
        side: the divided graph of one mode.
        model: the model.
        frontier: the signatures of all frontier tensors in the order in which they are given.
    """
    graph = fx.Graph()
    _, constants = _copy_onwards(graph, side, frontier, side.needed_suffix())
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
        if node not in copies:
            copies[node] = materializer.make(form)
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
        node = graph.call_method("unflatten", (node, form.dimension, (-1, form.fold)))
    return graph.call_method("movedim", (node, form.dimension, 0)) if form.dimension else node


def _as_before(graph: fx.Graph, node: fx.Node, form: Form, written: bool) -> fx.Node:
    """Undo `_rows_first`; a tensor that the suffix writes into is copied, so that the cache is not."""
    assert isinstance(form, BatchDimension)
    if written:
        node = graph.call_method("clone", (node,))
    if form.dimension:
        node = graph.call_method("movedim", (node, 0, form.dimension))
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
    return graph.create_node(node.op, node.target, arguments, keywords, node.name)


def _module(
    graph: fx.Graph, side: DividedGraph, model: nn.Module, constants: dict[str, Tensor], name: str
) -> fx.GraphModule:
    known = side.observed.targets
    used = {str(n.target) for n in graph.nodes if n.op in ("call_module", "get_attr")}
    root = {target: constants[target] if target in constants else known[target] for target in used}
    module = fx.GraphModule(root, graph, class_name=name)
    module.train(model.training)
    return module

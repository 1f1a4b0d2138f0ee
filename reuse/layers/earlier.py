"""Earlier cuts: before some of the frozen layers, where less has to be stored for each row.

A widening just before the frontier makes a cache large for little computation; a cut in front of it stores less, and
the suffix computes the frozen layers behind it in every epoch. What an earlier cut has stored spares a deeper one all
that comes before it: the bridge between them computes the rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import fx, nn

from reuse.layers.constancy import holds_frozen, tainted_by_writes
from reuse.layers.crossing import BatchDimension, NotStorable
from reuse.layers.divided_graph import DividedGraph, batch_dimension, stored
from reuse.layers.frontier import find_crossing
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.layers.reasons import layer_name
from reuse.layers.splicing import build_bridge, build_prefix, reaches

Sides = tuple[DividedGraph, DividedGraph]
"""The training and the evaluation graph of one model."""


@dataclass(frozen=True)
class EarlierCut:
    """A cut in front of some frozen layers.

    Attributes:
        frontier: what would be stored of a row.
        signatures: of the frozen computations that the suffix would do, for `cut(model, example, keep=signatures)`.
        behind: the frozen layers among them, by name, in order.
        prefix: takes the model's inputs, returns its frontier; its nodes are named as in the deepest prefix.
        bridge: takes its frontier, returns that of the deepest cut.
    """

    frontier: tuple[FrontierTensor, ...]
    signatures: frozenset[str]
    behind: tuple[str, ...]
    prefix: fx.GraphModule
    bridge: fx.GraphModule

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of the frontier for one row."""
        return sum(tensor.row_bytes for tensor in self.frontier)


def earlier_cuts(sides: Sides, frontier: Sequence[fx.Node], model: nn.Module) -> tuple[EarlierCut, ...]:
    """Return the cuts before each frozen layer of a prefix, the deepest first; those that cannot be are left out.

    Args:
        sides: the training and the evaluation graph, cut as deep as they can be.
        frontier: what crosses, nodes of the training graph.
        model: the model.
    """
    training = sides[0]
    layers = [node for node in training.needed_prefix(frontier) if holds_frozen(node, model)]
    names = [layer_name(node, model) for node in layers]
    deepest = {node: batch_dimension(node, training.observed) for node in frontier}
    found: list[EarlierCut] = []
    for first in range(len(layers) - 1, 0, -1):
        signatures = frozenset(training.signatures[node] for node in layers[first:])
        try:
            found.append(_earlier(sides, signatures, tuple(dict.fromkeys(names[first:])), deepest, model))
        except NotStorable:
            continue
    return tuple(found)


def bridge_between(first: EarlierCut, second: EarlierCut) -> fx.GraphModule | None:
    """Return a module that computes a deeper frontier from an earlier one, or None where it needs more than that.

    Args:
        first: the earlier of two cuts of one model.
        second: the deeper one.
    """
    ends = next(iter(reversed(second.prefix.graph.nodes))).all_input_nodes
    if [node.name for node in ends] != [tensor.name for tensor in second.frontier]:
        return None  # rows have to be moved first
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    found: dict[str, fx.Node] = {}
    given = iter(first.frontier)
    for node in first.bridge.graph.nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
        found[next(given).name if node.op == "placeholder" else node.name] = copies[node]
        if all(tensor.name in found for tensor in second.frontier):
            graph.output(tuple(found[tensor.name] for tensor in second.frontier))
            module = fx.GraphModule(first.bridge, graph, class_name="Bridge")
            module.train(first.bridge.training)
            return module
    return None


def without(sides: Sides, signatures: Iterable[str]) -> Sides:
    """Return both graphs divided anew: what computes one of these signatures, or follows from it, is in the suffix."""
    barred = frozenset(signatures)
    return _divided_before(sides[0], barred), _divided_before(sides[1], barred)


def _earlier(
    sides: Sides,
    signatures: frozenset[str],
    behind: tuple[str, ...],
    deepest: dict[fx.Node, BatchDimension],
    model: nn.Module,
) -> EarlierCut:
    divided = without(sides, signatures)
    for side in divided:
        find_crossing(side, model)
    training, evaluation = divided
    frontier = tuple(training.frontier())
    names = [training.signatures[node] for node in frontier]
    alone = {evaluation.signatures[node] for node in evaluation.frontier()}.difference(names)
    if alone or not any(holds_frozen(node, model) for node in training.needed_prefix(frontier)):
        raise NotStorable
    if not reaches(training, deepest):
        raise NotStorable
    specs = tuple(stored(node, training.observed) for node in frontier)
    prefix, bridge = build_prefix(training, model, frontier), build_bridge(training, model, names, deepest)
    return EarlierCut(specs, signatures, behind, prefix, bridge)


def _divided_before(side: DividedGraph, signatures: frozenset[str]) -> DividedGraph:
    constants = side.prefix | side.pulled
    barred = {node for node in side.order if side.signatures[node] in signatures}
    while True:
        prefix: set[fx.Node] = set()
        for node in side.order:
            if node in constants and node not in barred and prefix.issuperset(node.all_input_nodes):
                prefix.add(node)
        tainted = tainted_by_writes(side.observed, prefix)
        if not tainted:
            return DividedGraph(side.observed, prefix)
        barred |= tainted

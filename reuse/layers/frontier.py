"""The frontier of a cut: values that cross from prefix to suffix, found on the training and the evaluation graph."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from torch import fx, nn

from reuse.layers.constancy import ObservedGraph, holds_frozen
from reuse.layers.crossing import BatchDimension, Form, NotStorable, crossing_form
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.layers.observing import tensors_in


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

    def __post_init__(self) -> None:
        self.order, self.signatures = self.observed.order, self.observed.signatures

    def needed_suffix(self) -> list[fx.Node]:
        """Return the nodes that the suffix has to run, in order: for the output, and to move the model's buffers."""
        output = next(reversed(self.observed.traced.graph.nodes))
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
        redundant = set() if unstorable else _redundant(side, model)
        for node in unstorable | redundant:
            side.prefix.discard(node)
            side.pulled.add(node)
        if not (unstorable or redundant):
            return


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
                    side.crossing[argument] = _single_tensors(argument, side.observed)
                except NotStorable:
                    unstorable.add(argument)
    placeholders = {node for node in unstorable if node.op == "placeholder"}
    if placeholders:
        raise NotStorable(f"the input {placeholders.pop().name!r} has no batch dimension that could be followed")
    return unstorable


def _single_tensors(node: fx.Node, observed: ObservedGraph) -> Form:
    """Return the crossing form of a node; a list of stored tensors does not cross whole, its items do."""
    form = crossing_form(observed.small.values[node], observed.large.values[node], observed.rows)
    if not isinstance(form, BatchDimension) and _holds_rows(form):
        raise NotStorable
    return form


def _redundant(side: DividedGraph, model: nn.Module) -> set[fx.Node]:
    """Return frontier nodes without parameters that follow in one step from other frontier tensors."""
    frontier = set(side.frontier())
    for node in sorted(frontier, key=side.order.__getitem__, reverse=True):
        sources = [a for a in node.all_input_nodes if a.op != "get_attr" and _has_tensor(side.observed.small.values[a])]
        free = node.op != "placeholder" and not holds_frozen(node, model) and node not in side.observed.small.writes
        if free and sources and (frontier - {node}).issuperset(sources):
            return {node}
    return set()


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

"""A graph divided into prefix and suffix, and the forms in which its values may cross from one to the other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from torch import fx

from reuse.layers.constancy import ObservedGraph
from reuse.layers.crossing import BatchDimension, Form, NotStorable, crossing_form, without_values
from reuse.layers.frontier_tensor import FrontierTensor


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
        return [node for node, form in self.crossing.items() if holds_rows(form)]


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


def form_of(node: fx.Node, observed: ObservedGraph) -> Form | None:
    """Return the form in which a node's value crosses, None where it cannot be stored.

    It is compared once: it is asked for at every place where a model could be cut.
    """
    if node not in observed.forms:
        try:
            observed.forms[node] = _compared(node, observed)
        except NotStorable:
            observed.forms[node] = None
    form: Form | None = observed.forms[node]
    return form


def _compared(node: fx.Node, observed: ObservedGraph) -> Form:
    """Return the crossing form of a node; a list of stored tensors does not cross whole, its items do."""
    large = observed.large.values[node]
    form = crossing_form(observed.small.values[node], large, observed.rows)
    if not isinstance(form, BatchDimension) and holds_rows(form):
        raise NotStorable
    return without_values(large, form) if node in observed.without_values else form


def holds_rows(form: object) -> bool:
    """Return whether a form holds a tensor that is stored row by row."""
    return any(isinstance(part, BatchDimension) for part in _parts(form))


def _parts(form: object) -> Iterator[object]:
    if isinstance(form, list | tuple):
        for part in form:
            yield from _parts(part)
    elif isinstance(form, dict):
        yield from _parts(list(form.values()))
    else:
        yield form

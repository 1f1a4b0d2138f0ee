"""Running a graph once and noting what each node really did: its value, whether it was random, what it wrote in place.

Observation replaces tables of operations: a node is random when it moved a random state, it writes in place when the
version counter of a tensor that existed before it moved, it has state when a buffer of its module moved.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from reuse.errors import CutError
from reuse.layers.attributes import AssignAttribute
from reuse.layers.example import Example
from reuse.layers.known_values import KnownValues, Origins, is_kept, origin_of, written_by
from reuse.layers.probing import Moving
from reuse.layers.randomness import RandomSources, States, same_states
from reuse.layers.sequences import Unpacking, depends_on_longest
from reuse.layers.structure import map_tensors, tensors_in
from reuse.layers.trace_errors import BY_ROWS
from reuse.layers.tracing import TracedModel


@dataclass(frozen=True)
class Before:
    """What is known of a model before it is observed.

    Attributes:
        moving: what its calls move.
        known: values of its frozen layers.
    """

    moving: Moving
    known: KnownValues


@dataclass
class Observation:
    """Record of what the nodes of a graph did on one batch.

    Attributes:
        values: what each node returned, as it was before anything wrote into it.
        random: nodes that drew random numbers.
        stateful: calls that changed a buffer of their own module, unless it is only kept, writes into the model's own
            tensors, assignments.
        longest: calls whose values depend on the longest sequence of the batch.
        writes: for each node that wrote in place, the earlier nodes whose tensors share the written memory.
    """

    values: dict[fx.Node, Any] = field(default_factory=dict)
    random: set[fx.Node] = field(default_factory=set)
    stateful: set[fx.Node] = field(default_factory=set)
    longest: set[fx.Node] = field(default_factory=set)
    writes: dict[fx.Node, list[fx.Node]] = field(default_factory=dict)

    @property
    def written(self) -> frozenset[fx.Node]:
        """The nodes whose values were written into."""
        return frozenset(node for nodes in self.writes.values() for node in nodes)

    def writers(self) -> dict[fx.Node, list[fx.Node]]:
        """Return for each node that was written into the nodes that did so, in order."""
        inverted: dict[fx.Node, list[fx.Node]] = {}
        for writer, written in self.writes.items():
            for node in written:
                inverted.setdefault(node, []).append(writer)
        return inverted


def targets(traced: TracedModel, model: nn.Module) -> dict[str, Any]:
    """Return what every `call_module` and `get_attr` target of a graph stands for."""
    return {
        str(n.target): _resolve(traced, model, n) for n in traced.graph.nodes if n.op in ("call_module", "get_attr")
    }


def observe(
    traced: TracedModel,
    model: nn.Module,
    inputs: Example,
    before: Before,
    written: frozenset[fx.Node] = frozenset(),
) -> Observation:
    """Run the graph on `inputs` (batch first) and return what its nodes did. Buffers and random state do move.

    Args:
        traced: the graph.
        model: the model that was traced.
        inputs: what it is run on: of one number of rows always the same.
        before: what is known of the model.
        written: nodes whose values are known to be written into later: another observation's `written`.
    """
    seen = _run(traced, model, inputs, written, before)
    # What is written into later is seen as it was only if it was known beforehand that it would be.
    return seen if seen.written <= written else _run(traced, model, inputs, seen.written | written, before)


def observe_sizes(
    traced: TracedModel, model: nn.Module, batches: tuple[Example, ...], before: Before
) -> tuple[Observation, Observation]:
    """Observe a graph on the first and on the last of batches of growing size; it was traced on the second.

    Raises:
        CutError: it computes as many rows as it was traced on, and no others.
    """
    first, traced_on, last = batches
    try:
        small = observe(traced, model, first, before)
        return small, observe(traced, model, last, before, small.written)
    except Exception as error:
        if isinstance(error, torch.OutOfMemoryError) or not _runs(traced, model, traced_on, before):
            raise
        raise CutError(BY_ROWS) from error


def _runs(traced: TracedModel, model: nn.Module, inputs: Example, before: Before) -> bool:
    try:
        observe(traced, model, inputs, before)
    except Exception:  # noqa: BLE001 - a user's forward raises anything
        return False
    return True


def _run(
    traced: TracedModel, model: nn.Module, inputs: Example, written: frozenset[fx.Node], before: Before
) -> Observation:
    interpreter = _ObservingInterpreter(traced, model, written, before)
    copy = inputs.copy()
    interpreter.rows = len(copy.tensors[0])
    with torch.no_grad():
        interpreter.run(*copy.arguments, *copy.keywords.values(), enable_io_processing=False)
    return interpreter.seen


class _ObservingInterpreter(fx.Interpreter):
    """Interpreter that notes what each node does, on the very nodes of the traced graph."""

    def __init__(self, traced: TracedModel, model: nn.Module, written: frozenset[fx.Node], before: Before):
        super().__init__(nn.Module(), garbage_collect_values=False, graph=traced.graph)
        self.targets = targets(traced, model)
        self.seen = Observation()
        self.moving, self.known, self.rows = before.moving, before.known, 0
        self.origins: Origins = {}
        self.written = written  # nodes whose value is kept as a copy
        self.own = frozenset(_memory(tensor) for tensor in (*model.buffers(), *model.parameters()))
        self.owners: dict[int, list[fx.Node]] = {}  # memory -> nodes whose value lies in it, first come first
        self.random = RandomSources(model)

    def fetch_attr(self, target: str) -> Any:
        """Return what a target stands for: looked up by its whole name, since a name may be one of fx's own."""
        return self.targets[target]

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Call a module; lists that it is given are its own, to put something else into."""
        return self.targets[str(target)](*map(_own_lists, args), **{k: _own_lists(v) for k, v in kwargs.items()})

    def run_node(self, n: fx.Node) -> Any:
        """Run a node, or take its value where it is known, and note what it does."""
        origin = self.origins[n] = origin_of(n, self.origins, self.targets, self.moving)
        found = None if origin is None else self.known.find(self.rows, origin)
        value = self._observed(n) if found is None else found[0]
        if found is None and self.origins[n] is not None and is_kept(n, self.targets):
            self.known.keep(self.rows, str(origin), value)
        self.seen.values[n] = map_tensors(torch.clone, value) if n in self.written else value
        for tensor in tensors_in(value):
            self.owners.setdefault(_memory(tensor), []).append(n)
        return value

    def _observed(self, n: fx.Node) -> Any:
        arguments = list(tensors_in([self.env[a] for a in n.all_input_nodes]))
        versions = [t._version for t in arguments]
        own_versions = self._own_versions(n)
        state = self.random.states()
        with Unpacking() as unpacking:
            value = super().run_node(n)
        if not same_states(state, self.random.states()):
            self.seen.random.add(n)
        if self._own_versions(n) != own_versions or self._assigns(n):
            self.seen.stateful.add(n)
        for tensor, version in zip(arguments, versions, strict=True):
            if tensor._version != version:
                self._note_write(n, tensor)
        if n.op == "call_module" and unpacking.calls and self._depends_on_longest(n, state, value):
            self.seen.longest.add(n)
        if n in self.seen.random or n in self.seen.stateful or n in self.seen.longest:
            self.origins[n] = None
        for node in self.seen.writes.get(n, []):  # it is read otherwise from here on
            self.origins[node] = written_by(self.origins[node], self.origins[n])
        return value

    def _depends_on_longest(self, n: fx.Node, state: States, value: Any) -> bool:
        """Call a layer again, with the same random numbers; state that it moves is no frozen layer's that is cut."""
        with self.random.untouched():
            self.random.restore(state)
            return depends_on_longest(lambda: super(_ObservingInterpreter, self).run_node(n), value)

    def _note_write(self, n: fx.Node, tensor: Tensor) -> None:
        if _memory(tensor) in self.own:
            self.seen.stateful.add(n)
        written = self.seen.writes.setdefault(n, [])
        written += [owner for owner in self.owners.get(_memory(tensor), []) if owner not in written]

    def _own_versions(self, n: fx.Node) -> list[tuple[int, int]]:
        """Return which buffers and parameters a called module has, and how often each was written into."""
        if n.op != "call_module":
            return []
        name, module = str(n.target), self.targets[str(n.target)]
        buffers = self.moving.counting_tensors(name, module) if self.moving.kept else module.buffers()
        return [(id(tensor), tensor._version) for tensor in (*buffers, *module.parameters())]

    def _assigns(self, n: fx.Node) -> bool:
        return n.op == "call_module" and isinstance(self.targets[str(n.target)], AssignAttribute)


def _own_lists(value: Any) -> Any:
    """Return a value with the lists and dictionaries of torch.fx, which cannot be changed, as ordinary ones."""
    if isinstance(value, list):
        return [_own_lists(part) for part in value]
    if type(value) is tuple:
        return tuple(_own_lists(part) for part in value)
    return {key: _own_lists(part) for key, part in value.items()} if isinstance(value, dict) else value


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() or id(tensor)


def _resolve(traced: TracedModel, model: nn.Module, node: fx.Node) -> Any:
    name = str(node.target)
    if name in traced.constants:
        return traced.constants[name]
    if node.op == "call_module":
        return model.get_submodule(name)
    owner, _, last = name.rpartition(".")
    return getattr(model.get_submodule(owner), last)

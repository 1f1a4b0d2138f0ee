"""Running a graph once and noting what each node really did: its value, whether it was random, what it wrote in place.

Observation replaces tables of operations: a node is random when it moved a random state, it writes in place when the
version counter of a tensor that existed before it moved, it has state when a buffer of its module moved.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from reuse.layers.tracing import TracedModel
from reuse.seeding import random_state


@dataclass
class Observation:
    """Record of what the nodes of a graph did on one batch.

    Attributes:
        values: what each node returned, as it was before anything wrote into it.
        random: nodes that drew random numbers.
        stateful: calls that changed a buffer of their own module, and writes into the model's own tensors.
        writes: for each node that wrote in place, the earlier nodes whose tensors share the written memory.
    """

    values: dict[fx.Node, Any] = field(default_factory=dict)
    random: set[fx.Node] = field(default_factory=set)
    stateful: set[fx.Node] = field(default_factory=set)
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
    traced: TracedModel, model: nn.Module, inputs: tuple[Tensor, ...], written: frozenset[fx.Node] = frozenset()
) -> Observation:
    """Run the graph on `inputs` (batch first) and return what its nodes did. Buffers and random state do move.

    Args:
        traced: the graph.
        model: the model that was traced.
        inputs: what it is run on.
        written: nodes whose values are known to be written into later: another observation's `written`.
    """
    module = fx.GraphModule(targets(traced, model), traced.graph)
    own = frozenset(_memory(tensor) for tensor in (*model.buffers(), *model.parameters()))
    seen = _run(module, inputs, written, own)
    # What is written into later is seen as it was only if it was known beforehand that it would be.
    return seen if seen.written <= written else _run(module, inputs, seen.written | written, own)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a value: itself, or those in its lists, tuples and mappings."""
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _run(
    module: fx.GraphModule, inputs: tuple[Tensor, ...], written: frozenset[fx.Node], own: frozenset[int]
) -> Observation:
    seen = Observation()
    with torch.no_grad():
        _ObservingInterpreter(module, seen, written, own).run(*(t.clone() for t in inputs))
    return seen


class _ObservingInterpreter(fx.Interpreter):
    """Interpreter that notes what each node does; it runs the module that fx makes of a graph, with its very nodes."""

    def __init__(self, module: fx.GraphModule, seen: Observation, written: frozenset[fx.Node], own: frozenset[int]):
        super().__init__(module, garbage_collect_values=False)
        self.seen = seen
        self.written = written  # nodes whose value is kept as a copy
        self.own = own  # the memory of the model's parameters and buffers
        self.owners: dict[int, list[fx.Node]] = {}  # memory -> nodes whose value lies in it, first come first

    def run_node(self, n: fx.Node) -> Any:
        arguments = list(tensors_in([self.env[a] for a in n.all_input_nodes]))
        buffers = self._buffers(n)
        versions = [t._version for t in arguments]
        buffer_versions = [(id(b), b._version) for b in buffers]
        state = _random_states()
        value = super().run_node(n)
        if not _same_states(state, _random_states()):
            self.seen.random.add(n)
        if [(id(b), b._version) for b in self._buffers(n)] != buffer_versions:
            self.seen.stateful.add(n)
        for tensor, version in zip(arguments, versions, strict=True):
            if tensor._version != version:
                self._note_write(n, tensor)
        self.seen.values[n] = tree_map_only(Tensor, torch.clone, value) if n in self.written else value
        for tensor in tensors_in(value):
            self.owners.setdefault(_memory(tensor), []).append(n)
        return value

    def _note_write(self, n: fx.Node, tensor: Tensor) -> None:
        if _memory(tensor) in self.own:
            self.seen.stateful.add(n)
        written = self.seen.writes.setdefault(n, [])
        written += [owner for owner in self.owners.get(_memory(tensor), []) if owner not in written]

    def _buffers(self, n: fx.Node) -> list[Tensor]:
        return list(self.fetch_attr(str(n.target)).buffers()) if n.op == "call_module" else []


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() or id(tensor)


def _random_states() -> tuple[Any, ...]:
    state = random_state()
    return state["cpu"], state.get("cuda"), np.random.get_state(), random.getstate()  # noqa: NPY002


def _same_states(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    same_cuda = before[1] is None or all(torch.equal(a, b) for a, b in zip(before[1], after[1], strict=True))
    same_numpy = before[2][2] == after[2][2] and np.array_equal(before[2][1], after[2][1])
    return torch.equal(before[0], after[0]) and same_cuda and same_numpy and bool(before[3] == after[3])


def _resolve(traced: TracedModel, model: nn.Module, node: fx.Node) -> Any:
    name = str(node.target)
    if name in traced.constants:
        return traced.constants[name]
    if node.op == "call_module":
        return model.get_submodule(name)
    owner, _, last = name.rpartition(".")
    return getattr(model.get_submodule(owner), last)

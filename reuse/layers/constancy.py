"""Constant nodes of a graph: those that depend only on inputs and frozen parameters, in training and evaluation alike.

A node is constant when all its inputs are and it holds no trainable parameter, draws no random numbers, changes no
buffer, and treats each row by itself. A write in place taints what it writes and every alias of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn

from reuse.layers.attributes import ReadAttribute
from reuse.layers.batch_scales import scales_by_batch
from reuse.layers.observing import Observation
from reuse.layers.picking import picks_by_value
from reuse.layers.probing import NOTHING, Moving
from reuse.layers.reading import nodes_of_rows, reads_shape, without_rows
from reuse.layers.sequences import mixes_sequences
from reuse.layers.tracing import TracedModel
from reuse.layers.trainability import is_trainable, module_called, parameter_read


@dataclass(frozen=True)
class ObservedGraph:
    """A traced graph with what it did on a smaller and on a larger batch that begins with the same rows.

    What is derived of the whole graph is derived once: it is asked for again at every place where it could be cut.

    Attributes:
        traced: the graph.
        small: its observation on the smaller batch.
        large: its observation on the larger one.
        rows: the number of rows of the two batches.
        targets: modules and tensors that its nodes call and read, taken once modules had prepared what they prepare on
            their first call.
        moving: what calls of the model move.
        cleared: what its calls lead to and that finds no scale of a whole batch, of those that were asked about.
        forms: in which values cross a cut, of those that were asked for; None where they cannot.
    """

    traced: TracedModel
    small: Observation
    large: Observation
    rows: tuple[int, int]
    targets: dict[str, Any]
    moving: Moving = NOTHING
    cleared: dict[int, Any] = field(default_factory=dict)
    forms: dict[fx.Node, Any] = field(default_factory=dict)

    def forget_order(self) -> None:
        """Derive what is derived of the graph anew: nodes were added to it."""
        self.forms.clear()
        for name in ("order", "signatures", "without_values", "of_rows"):
            vars(self).pop(name, None)

    @cached_property
    def order(self) -> dict[fx.Node, int]:
        """The place of each node."""
        return {node: i for i, node in enumerate(self.traced.graph.nodes)}

    @cached_property
    def signatures(self) -> dict[fx.Node, str]:
        """A digest of the whole computation behind each node.

        Nodes of the training and of the evaluation graph with the same signature compute the same thing. A functional
        dropout that drew nothing (its rate is zero, or it evaluates) has the signature of its input.
        """
        return _signatures(self)

    @cached_property
    def without_values(self) -> frozenset[fx.Node]:
        """Nodes that depend on the shapes and types of the inputs, and on nothing else of them, whatever is written."""
        barred: set[fx.Node] = set()
        while True:
            free = self._free_of_values(barred)
            told = {node for writer, nodes in self.small.writes.items() if writer not in free for node in nodes}
            if not told & free:
                return frozenset(free)
            barred |= told

    @cached_property
    def of_rows(self) -> set[fx.Node]:
        """Nodes whose values come from those of the inputs' rows."""
        return nodes_of_rows(self.order, self.small.values, self.large.values, self._has_tensors)

    def _has_tensors(self, node: fx.Node) -> bool:
        module = self.targets.get(str(node.target))
        return isinstance(module, nn.Module) and any(True for _ in chain(module.parameters(), module.buffers()))

    def _free_of_values(self, barred: set[fx.Node]) -> set[fx.Node]:
        free: set[fx.Node] = set()
        for node in self.order:
            reads = [a for a in node.all_input_nodes if a not in free]
            drawn = node in self.small.random or node in self.small.stateful or node in barred
            if node.op not in ("placeholder", "output") and not drawn and (not reads or reads_shape(node)):
                free.add(node)
        return free


def constant_nodes(observed: ObservedGraph, model: nn.Module, besides: Iterable[fx.Node] = ()) -> set[fx.Node]:
    """Return the constant nodes of one graph, placeholders and frozen parameters among them.

    Args:
        observed: the graph and what it did.
        model: the model that was traced.
        besides: nodes that are not to count as constant for a reason of the caller's.
    """
    nodes = list(observed.traced.graph.nodes)
    barred = {n for n in nodes if _is_barred(n, observed, model)}.union(besides)
    while True:
        constant: set[fx.Node] = set()
        for node in nodes:
            if node not in barred and node.op != "output" and constant.issuperset(node.all_input_nodes):
                constant.add(node)
        tainted = _tainted(observed.small.writes, constant, nodes) - barred
        if not tainted:
            return constant
        barred |= tainted


def holds_trainable(node: fx.Node, model: nn.Module) -> bool:
    """Return whether a node is a trainable parameter or calls a module that has one."""
    if node.op == "call_module":
        return is_trainable(module_called(node, model))
    parameter = parameter_read(node, model)
    return parameter is not None and parameter.requires_grad


def holds_frozen(node: fx.Node, model: nn.Module) -> bool:
    """Return whether a node computes with frozen parameters: calls a module that has some, or reads one itself."""
    if node.op == "call_module":
        return next(module_called(node, model).parameters(), None) is not None
    return any(parameter_read(argument, model) is not None for argument in node.all_input_nodes)


def shared_constants(
    training: ObservedGraph, evaluation: ObservedGraph, model: nn.Module
) -> tuple[set[fx.Node], set[fx.Node]]:
    """Return the constant nodes of both graphs that stand for the same computation in both."""
    sides = (training, evaluation)
    named = [side.signatures for side in sides]
    barred: list[set[fx.Node]] = [set(), set()]
    while True:
        constant = [constant_nodes(side, model, bar) for side, bar in zip(sides, barred, strict=True)]
        said = [{names[n] for n in nodes} for names, nodes in zip(named, constant, strict=True)]
        shared = said[0] & said[1]
        alone = [{n for n in nodes if names[n] not in shared} for names, nodes in zip(named, constant, strict=True)]
        if not any(alone):
            return constant[0], constant[1]
        barred = [bar | more for bar, more in zip(barred, alone, strict=True)]


def tainted_by_writes(observed: ObservedGraph, constant: set[fx.Node]) -> set[fx.Node]:
    """Return nodes that cannot be constant if these are, because of a write in place across the cut."""
    return _tainted(observed.small.writes, constant, observed.traced.graph.nodes)


def rows_dimension(small: Tensor, large: Tensor, rows: tuple[int, int]) -> tuple[int, int] | None:
    """Return `(dimension, k)` where the two shapes differ in one dimension of k × rows elements, else None."""
    if small.dim() != large.dim():
        return None
    differing = [d for d in range(small.dim()) if small.shape[d] != large.shape[d]]
    if len(differing) != 1:
        return None
    dimension = differing[0]
    k, rest = divmod(small.shape[dimension], rows[0])
    return (dimension, k) if k and rest == 0 and large.shape[dimension] == k * rows[1] else None


def same_values(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors agree but for the rounding of kernels that differ with the batch size."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if torch.equal(a, b):
        return True
    if not (a.is_floating_point() or a.is_complex()):
        return False
    scale = torch.nan_to_num(a.detach()).abs().max().item()
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-4}.get(a.dtype, 2e-2)
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance * max(scale, 1e-30), equal_nan=True)


def _signatures(observed: ObservedGraph) -> dict[fx.Node, str]:
    order = observed.order
    writers = observed.small.writers()
    result: dict[fx.Node, str] = {}
    for node in order:
        if _is_idle_dropout(node, observed):
            result[node] = result[node.all_input_nodes[0]]
            continue
        names = {}
        for argument in node.all_input_nodes:
            earlier = [result[w] for w in writers.get(argument, []) if order[w] < order[node]]
            names[argument] = _NodeText(f"<{'!'.join([result[argument], *earlier])}>")
        text = f"{node.op} {_target(node)} {fx.node.map_arg((node.args, node.kwargs), names.__getitem__)!r}"
        result[node] = blake2b(text.encode(), digest_size=16).hexdigest()
    return result


class _NodeText(str):
    """A text that stands for a node inside printed arguments."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _target(node: fx.Node) -> str:
    if isinstance(node.target, str):
        return node.target
    return f"{getattr(node.target, '__module__', '')}.{getattr(node.target, '__qualname__', node.target)}"


def _is_idle_dropout(node: fx.Node, observed: ObservedGraph) -> bool:
    return (
        node.op == "call_function"
        and "dropout" in str(getattr(node.target, "__name__", ""))
        and node not in observed.small.random
        and len(node.all_input_nodes) == 1
    )


def _is_barred(node: fx.Node, observed: ObservedGraph, model: nn.Module) -> bool:
    return (
        node in observed.small.random
        or node in observed.large.random
        or holds_trainable(node, model)
        or mixes_rows(node, observed)
        or counts(node, observed)
    )


def counts(node: fx.Node, observed: ObservedGraph) -> bool:
    """Return whether a call changes what its module holds, or reads what changes."""
    return node in observed.small.stateful or _meets_what_moves(node, observed)


def _meets_what_moves(node: fx.Node, observed: ObservedGraph) -> bool:
    """Return whether a node reads what calls of the model move, or what earlier calls of it left behind."""
    moving, target = observed.moving, str(node.target)
    if node.op == "get_attr":
        owner, _, name = target.rpartition(".")
        value = observed.targets[target]
        return (owner, name) in moving.counted or any(value is parameter for parameter in moving.parameters)
    if node.op != "call_module":
        return False
    module = observed.targets[target]
    if isinstance(module, ReadAttribute):
        return not node.args
    return next(moving.counted_in(target), None) is not None or moving.writes_into(module)


def mixes_rows(node: fx.Node, observed: ObservedGraph) -> bool:
    """Return whether the rows that two batches share come out of them with different values, or may.

    What holds no rows and is made of them, as whether any of them is padded, may be another for the next rows.
    """
    small, large = observed.small.values, observed.large.values
    if node in observed.small.longest or mixes_sequences(node, small) or picks_by_value(node, small, large):
        return True
    if scales_by_batch(node, observed.targets.get(str(node.target)), observed.cleared):
        return True
    few, many = small.get(node), large.get(node)
    if not (isinstance(few, Tensor) and isinstance(many, Tensor)):
        return False
    if without_rows(few, many):
        is_read = any(not reads_shape(user) for user in node.users)
        return (node in observed.of_rows and is_read) or not same_values(few, many)
    found = rows_dimension(few, many, observed.rows)
    if found is None or found[1] != 1:
        return False  # cannot be told here; it cannot be stored either, and what comes of it is looked at again
    return not same_values(few, many.narrow(found[0], 0, few.shape[found[0]]))


def _tainted(writes: dict[fx.Node, list[fx.Node]], constant: set[fx.Node], nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """Return constant nodes that must not be, because of a write in place on the other side of the cut or across it."""
    order = {node: i for i, node in enumerate(nodes)}
    tainted: set[fx.Node] = set()
    for writer, written in writes.items():
        readers = {user for node in written for user in node.users if user is not writer}
        if writer in constant:
            # a reader that stays in the suffix would see the value after the write, and must not have come before it
            if any(r not in constant and order[r] < order[writer] for r in readers):
                tainted.add(writer)
        else:
            # the first of the aliases may cross as a copy; the others and all later readers follow the write
            tainted |= set(written[1:]) & constant
            tainted |= {r for r in readers if order[r] > order[writer]} & constant
    return tainted

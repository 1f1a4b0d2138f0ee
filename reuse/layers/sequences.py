"""Sequences of unequal lengths, packed for a recurrent layer: their calls stay whole, and what mixes rows is told.

A packed sequence holds the steps of a whole batch in an order of its own, so nothing of it belongs to one row. What is
unpacked again is as long as the longest sequence of the batch: it is unpacked to the length that was packed, which is
the same in every batch, and cut to the longest behind what is stored.
"""

import inspect
import operator
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn.utils import rnn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from reuse.layers.structure import tensors_in

MODULE = rnn
VECTORS = "_VF"  # the name under which it holds the functions that are not Python's
WHOLE_CALLS = (pack_padded_sequence, pad_packed_sequence)
"""Functions that look at lengths, which a tracer does not know."""


def to_longest(sequences: Tensor, lengths: Tensor, batch_first: bool) -> Tensor:
    """Return unpacked sequences as long as the longest of them, `(rows, steps, *)` or `(steps, rows, *)`."""
    return sequences.narrow(1 if batch_first else 0, 0, int(lengths.max()))


def unpack_whole(graph: fx.Graph) -> None:
    """Let a graph unpack sequences to the length that they were packed from, and cut them to the longest then."""
    for node in graph.find_nodes(op="call_function", target=pad_packed_sequence):
        given, source = _given(node), _packed_from(node)
        taken_apart = all(user.target is operator.getitem and user.args[1] in (0, 1) for user in node.users)
        if given["total_length"] is None and source is not None and taken_apart and type(given["batch_first"]) is bool:
            _cut_to_longest(graph, node, given)
            packed = _given(source)
            with graph.inserting_before(node):
                steps = graph.call_method("size", (packed["input"], 1 if packed["batch_first"] else 0))
            node.args, node.kwargs = (), {**given, "total_length": steps}


def _cut_to_longest(graph: fx.Graph, node: fx.Node, given: dict[str, Any]) -> None:
    """Let those who take the sequences of what a node unpacks get them as long as the longest."""
    users = list(node.users)
    with graph.inserting_after(node):
        sequences = graph.call_function(operator.getitem, (node, 0))
    with graph.inserting_after(sequences):
        lengths = graph.call_function(operator.getitem, (node, 1))
    with graph.inserting_after(lengths):
        longest = graph.call_function(to_longest, (sequences, lengths, given["batch_first"]))
    for user in users:
        user.replace_all_uses_with(longest if user.args[1] == 0 else lengths)
        graph.erase_node(user)


def mixes_sequences(node: fx.Node, values: Mapping[fx.Node, Any]) -> bool:
    """Return whether what a node computes of sequences depends on the others of the batch: on the longest, or all."""
    if node.target is pad_packed_sequence:
        return _given(node)["total_length"] is None
    if node.op == "call_module" or node.target in WHOLE_CALLS:
        return False
    return node.target is to_longest or any(isinstance(values.get(a), PackedSequence) for a in node.all_input_nodes)


class Unpacking:
    """Stands, inside a block, for torch's functions that unpack sequences, and counts what is as long as the longest.

    Attributes:
        calls: how often sequences were unpacked to no length of the caller's.
    """

    def __init__(self, more: int = 0) -> None:
        """Unpack those longer by `more` steps."""
        self.calls, self._more, self._functions = 0, more, rnn.__dict__[VECTORS]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._functions, name)

    def _pad_packed_sequence(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        *given, steps = arguments
        if sys._getframe(1).f_locals.get("total_length") is None:
            self.calls, steps = self.calls + 1, steps + self._more
        unpacked: tuple[Tensor, Tensor] = self._functions._pad_packed_sequence(*given, steps)
        return unpacked

    def __enter__(self) -> "Unpacking":
        rnn.__dict__[VECTORS] = self
        return self

    def __exit__(self, *error: object) -> None:
        rnn.__dict__[VECTORS] = self._functions


def depends_on_longest(call: Callable[[], Any], value: Any) -> bool:
    """Return whether a call that returned a value returns another one of sequences that are unpacked to more steps."""
    with Unpacking(more=1):
        try:
            longer = tensors_in(call())
        except Exception:  # noqa: BLE001 - a user's layer raises anything where steps do not fit
            return True
    pairs = zip(tensors_in(value), longer, strict=False)
    return not all(a.shape == b.shape and torch.allclose(a, b, equal_nan=True) for a, b in pairs)


def holds_packed(value: object) -> bool:
    """Return whether a value is a packed sequence, or holds one."""
    if isinstance(value, PackedSequence):
        return True
    return isinstance(value, tuple | list) and any(map(holds_packed, value))


def _packed_from(node: fx.Node) -> fx.Node | None:
    """Return the one call that packed what a node unpacks; None where there are several, or none."""
    found: set[fx.Node] = set()
    todo, seen = [node], set[fx.Node]()
    while todo:
        one = todo.pop()
        if one.op == "call_function" and one.target is pack_padded_sequence:
            found.add(one)
        elif one not in seen:
            seen.add(one)
            todo += one.all_input_nodes
    (source,) = found if len(found) == 1 else (None,)
    return source if source is not None and isinstance(_given(source)["batch_first"], bool) else None


def _given(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of a call by their names, defaults among them."""
    assert callable(node.target)
    bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)
    bound.apply_defaults()
    return bound.arguments

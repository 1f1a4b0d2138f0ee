"""Why a model cannot be cut, in plain words: which frozen layer is in the way, and what its forward does."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, fx, nn
from torch._ops import HigherOrderOperator

from reuse.errors import CutError
from reuse.fingerprinting.keeping import Place
from reuse.layers.constancy import holds_frozen, holds_trainable, mixes_rows
from reuse.layers.crossing import PLAIN, NotStorable
from reuse.layers.divided_graph import DividedGraph
from reuse.layers.recording import Untraceable
from reuse.layers.structure import leaves
from reuse.layers.trace_errors import known_words, line_of, named_line_of
from reuse.layers.trainability import parameter_read

NOTHING_BEFORE = "no frozen layer comes before the first layer that trains, so there is nothing to cache"


def why_not(side: DividedGraph, model: nn.Module) -> str:
    """Return why nothing of a graph can be cached: the first frozen layer that cannot be, and what it does."""
    constant = side.prefix | side.pulled
    for node in side.order:
        before = all(argument in constant for argument in node.all_input_nodes)
        if before and node.op != "get_attr" and holds_frozen(node, model) and node not in side.prefix:
            name, does = layer_name(node, model), _what_it_does(node, side, model)
            if does is not None:
                return f"the frozen layer {name!r} cannot be cached: it {does}"
    for node in side.order:
        for given in _kept_back(node, constant, side, model):
            return f"the frozen layer {layer_name(node, model)!r} cannot be cached: what comes before it {given}"
    whole = next(_in_blocks(side, model), None)
    if whole is not None:
        why = "it is computed in one block with layers that train, under autocast or a like switch"
        return f"the frozen layer {whole!r} cannot be cached: {why}"
    for node in side.order:
        if node.op != "get_attr" and node in side.prefix and holds_frozen(node, model):
            name = layer_name(node, model)
            return f"what the frozen layer {name!r} returns is not used, or only other than as its value, as by a hook"
    return NOTHING_BEFORE


def _kept_back(node: fx.Node, constant: set[fx.Node], side: DividedGraph, model: nn.Module) -> Iterator[str]:
    """Yield what the steps do that keep a frozen layer from being cached, if none of them trains."""
    if node.op == "get_attr" or node in constant or not holds_frozen(node, model):
        return
    first = [n for n in _before(node, constant) if constant.issuperset(n.all_input_nodes)]
    if not any(holds_trainable(n, model) for n in first):
        yield from (does for n in first if (does := _what_it_does(n, side, model)) is not None)


def _before(node: fx.Node, constant: set[fx.Node]) -> list[fx.Node]:
    """Return the nodes that are not constant and that a node is computed from."""
    found: dict[fx.Node, None] = {}
    todo = list(node.all_input_nodes)
    while todo:
        one = todo.pop(0)
        if one not in constant and one not in found:
            found[one] = None
            todo += one.all_input_nodes
    return list(found)


def _in_blocks(side: DividedGraph, model: nn.Module) -> Iterator[str]:
    """Yield the frozen layers of blocks that torch.export keeps whole, as those under autocast."""
    for node in side.order:
        for argument in node.all_input_nodes if isinstance(node.target, HigherOrderOperator) else ():
            parameter = parameter_read(argument, model)
            if parameter is not None and not parameter.requires_grad:
                yield str(argument.target).rpartition(".")[0] or str(argument.target)


def first_line(error: Exception) -> str:
    """Return what went wrong in one line, in plain words where they are known."""
    line = line_of(error)
    if isinstance(error, CutError | Untraceable):
        return line
    if isinstance(error, NotStorable):
        return line or "a value that crosses has no batch dimension that could be followed"
    return known_words(error) or named_line_of(error)


def joined(reasons: list[tuple[str, str]]) -> str:
    """Return the reasons of several engines, each once."""
    if len({reason for _, reason in reasons}) == 1:
        return reasons[0][1]
    return "; ".join(f"{engine}: {reason}" for engine, reason in reasons)


def layer_name(node: fx.Node, model: nn.Module) -> str:
    """Return the layer whose parameters a node computes with."""
    if node.op == "call_module":
        return str(node.target)
    reads = [str(a.target) for a in node.all_input_nodes if parameter_read(a, model) is not None]
    return reads[0].rpartition(".")[0] or reads[0]


def _unstorable(value: Any) -> str:
    """Return what of a value cannot be stored, and what can be done about it."""
    for leaf in leaves(value):
        if type(leaf).__module__ == "transformers.cache_utils":
            return "the keys and values of its attention beside its result: set use_cache=False in its configuration"
        if not isinstance(leaf, (Tensor, *PLAIN)):
            return f"an object of {type(leaf).__name__}, which cannot be stored row by row"
    return "something that cannot be stored row by row"


def _named(place: Place) -> str:
    return "what its code reads outside of the model" if place[1] == "class" else repr(place[1])


def _what_it_does(node: fx.Node, side: DividedGraph, model: nn.Module) -> str | None:
    observed, target = side.observed, str(node.target)
    if holds_trainable(node, model):
        why = observed.traced.opaque.get(target)
        return None if why is None else f"holds layers that train, and cannot be entered, because {why}"
    if node in observed.small.random or node in observed.large.random:
        return "draws random numbers"
    if node.op == "call_module" and observed.moving.writes_into(observed.targets[target]):
        return "writes into its own parameters"
    counted = next(observed.moving.counted_in(target), None) if node.op == "call_module" else None
    if counted is not None:
        return f"counts its calls, or changes {_named(counted)} with each of them, which is read"
    if node in observed.small.stateful:
        return "counts its calls, or changes a buffer with each of them"
    if mixes_rows(node, observed):
        return "mixes the rows of a batch"
    if node in side.pulled:
        return f"returns {_unstorable(observed.small.values[node])}"
    return "computes something else while training"

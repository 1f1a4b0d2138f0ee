"""Tracing a model with torch.export: the second engine, for control flow that torch.fx cannot follow.

Every operation becomes a node, so wholly frozen modules are not one call as they are under torch.fx; the graph holds
for the mode in which it was exported.
"""

import inspect
import logging
import operator
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_unflatten

from reuse.layers.attributes import dotted, outside
from reuse.layers.example import Example
from reuse.layers.preserving import Modes, untouched_attributes
from reuse.layers.probing import NOTHING, Moving
from reuse.layers.randomness import RandomSources, same_states
from reuse.layers.recording import Untraceable, switching, unnested
from reuse.layers.structure import children, graph_argument, mapped
from reuse.layers.tracer import argument_names
from reuse.layers.tracing import TracedModel
from reuse.layers.trainability import is_frozen


def trace_by_export(model: nn.Module, example: Example, moving: Moving = NOTHING) -> TracedModel:
    """Trace `model` in its present mode with the batch as a dynamic dimension.

    Args:
        model: any module that torch.export takes.
        example: what it is called with, batch first, of at least two rows.
        moving: what its calls move.

    Raises:
        Untraceable: its forward draws random numbers outside of tensors, or assigns attributes.
        Exception: whatever torch.export raises on a model that it cannot take.
    """
    own = [p for p in moving.attributes | moving.mutated if not is_frozen(model.get_submodule(p[0]))]
    own += [*moving.hidden, *moving.counted_values(model)]
    if own:
        raise Untraceable(f"its forward changes {outside(own[0]) if own[0] in moving.hidden else repr(dotted(own[0]))}")
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    random, modes = RandomSources(model), Modes(model)
    with _quiet(), unnested(), random.untouched(), untouched_attributes(model):
        states = random.states()
        program = torch.export.export(
            model, example.arguments, example.keywords, dynamic_shapes=_shapes(model, example, batch), strict=False
        )
        module = program.module(check_guards=False)  # of sizes
        for name, one in modes.switched():
            raise Untraceable(f"its forward {switching(name, one, one.training)}")
        if not same_states(states, random.states()):
            raise Untraceable("its forward draws random numbers to decide what to do")
    if any("functorch" in getattr(node.target, "__module__", "") for node in module.graph.nodes):
        raise Untraceable("its forward uses transforms of torch.func")
    owned = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    owned |= {name for name, _ in model.named_buffers(remove_duplicate=False)}
    constants = {}
    for node in module.graph.nodes:
        if node.op == "get_attr" and node.target not in owned:
            constants[str(node.target)] = _attribute(module, str(node.target))
    _give_back_structure(module.graph)
    _take_arguments(module.graph, model, example)
    return TracedModel(module.graph, constants)


def _take_arguments(graph: fx.Graph, model: nn.Module, example: Example) -> None:
    """Let the graph take what the model does: torch.export takes each tensor by itself."""
    placeholders = iter(list(graph.find_nodes(op="placeholder")))
    names = [*argument_names(model, len(example.arguments)), *example.keywords]
    for name, value in zip(names, (*example.arguments, *example.keywords.values()), strict=True):
        held = children(value)
        if held is None:
            next(placeholders)
            continue
        first = next(placeholders)
        with graph.inserting_before(first):
            whole = graph.placeholder(name)
        _take_apart(graph, whole, value, chain([first], placeholders))
    graph.set_codegen(fx.graph.CodeGen())


def _take_apart(graph: fx.Graph, whole: fx.Node, value: Any, flat: Iterator[fx.Node]) -> None:
    held = children(value)
    assert held is not None
    keys = list(value) if isinstance(value, Mapping) else range(len(held[0]))
    for key, part in zip(keys, held[0], strict=True):
        with graph.inserting_after(_last_placeholder(graph)):
            taken = graph.call_function(operator.getitem, (whole, key))
        if children(part) is not None:
            _take_apart(graph, taken, part, flat)
            continue
        node = next(flat)
        node.replace_all_uses_with(taken)
        graph.erase_node(node)


def _last_placeholder(graph: fx.Graph) -> fx.Node:
    *_, last = graph.find_nodes(op="placeholder")
    return cast(fx.Node, last)


def _give_back_structure(graph: fx.Graph) -> None:
    """Let the graph return what the model does: torch.export returns a flat tuple and rebuilds the rest outside."""
    codegen: Any = graph._codegen
    info = getattr(codegen, "pytree_info", None)
    if info is not None and info.out_spec is not None:
        flat: Any = graph.output_node().args[0]
        value = tree_unflatten(list(flat), info.out_spec)
        with graph.inserting_before(graph.output_node()):
            graph.output_node().args = (graph_argument(graph, value),)
        codegen.pytree_info = info._replace(out_spec=None)


def _shapes(model: nn.Module, example: Example, batch: Any) -> Any:
    """Return the dynamic dimensions as torch.export wants them: in the form of the arguments, by the names of them."""
    arguments, keywords = mapped(
        lambda leaf: {0: batch} if isinstance(leaf, Tensor) else None, [list(example.arguments), example.keywords]
    )
    shapes: dict[str, Any] = {}
    for parameter in inspect.signature(model.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL and arguments:
            shapes[parameter.name], arguments = tuple(arguments), []
        elif parameter.kind is parameter.VAR_KEYWORD and keywords:
            shapes[parameter.name], keywords = keywords, {}
        elif parameter.name in keywords:
            shapes[parameter.name] = keywords.pop(parameter.name)
        elif arguments:
            shapes[parameter.name] = arguments.pop(0)
    return shapes


def _attribute(module: nn.Module, target: str) -> object:
    owner, _, name = target.rpartition(".")
    return getattr(module.get_submodule(owner), name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch.export's notes, and the graphs that it prints where it fails, from the user: a check judges them."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

"""Tracing a model with torch.export: the second engine, for control flow that torch.fx cannot follow.

Every operation becomes a node, so wholly frozen modules are not one call as they are under torch.fx; the graph holds
for the mode in which it was exported.
"""

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_unflatten

from reuse.layers.tracing import TracedModel


def trace_by_export(model: nn.Module, inputs: tuple[Tensor, ...]) -> TracedModel:
    """Trace `model` in its present mode with the batch as a dynamic dimension.

    Args:
        model: any module that torch.export takes.
        inputs: example tensors, batch first, of at least two rows.

    Raises:
        Exception: whatever torch.export raises on a model that it cannot take.
    """
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    shapes = tuple({0: batch} for _ in inputs)
    with _quiet():
        program = torch.export.export(model, inputs, dynamic_shapes=_by_name(model, shapes), strict=False)
        module = program.module(check_guards=False)
    owned = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    owned |= {name for name, _ in model.named_buffers(remove_duplicate=False)}
    constants = {}
    for node in module.graph.nodes:
        if node.op == "get_attr" and node.target not in owned:
            constants[str(node.target)] = _attribute(module, str(node.target))
    _give_back_structure(module.graph)
    return TracedModel(module.graph, constants)


def _give_back_structure(graph: fx.Graph) -> None:
    """Let the graph return what the model does: torch.export returns a flat tuple and rebuilds the rest outside."""
    codegen: Any = graph._codegen
    info = getattr(codegen, "pytree_info", None)
    if info is not None and info.out_spec is not None:
        leaves: Any = graph.output_node().args[0]
        graph.output_node().args = (tree_unflatten(list(leaves), info.out_spec),)
        codegen.pytree_info = info._replace(out_spec=None)


def _by_name(model: nn.Module, shapes: tuple[Any, ...]) -> Any:
    """Return the shapes as torch.export wants them, in one more tuple for a forward that takes `*args`."""
    kinds = [p.kind for p in inspect.signature(model.forward).parameters.values()]
    return (shapes,) if kinds and kinds[0] is inspect.Parameter.VAR_POSITIONAL else shapes


def _attribute(module: nn.Module, target: str) -> object:
    owner, _, name = target.rpartition(".")
    return getattr(module.get_submodule(owner), name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch.export's notes on what it specialised from reaching the user: the self-check judges the result."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

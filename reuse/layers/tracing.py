"""Tracing a model into a graph with torch.fx, descending only into modules that mix frozen and trainable parameters.

A module that is wholly frozen or wholly trainable stays one call, so its control flow and its train / eval switch keep
working whatever they are.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from reuse.layers.example import Example
from reuse.layers.meta_values import Returned, returned_values
from reuse.layers.preserving import untouched_attributes
from reuse.layers.probing import NOTHING, Moving
from reuse.layers.sequences import unpack_whole
from reuse.layers.tracer import MixedTracer


@dataclass(frozen=True)
class TracedModel:
    """A model as a graph, in the mode (training or evaluation) in which it was traced.

    Attributes:
        graph: its `call_module` and `get_attr` targets are names in the model, or keys of `constants`.
        constants: tensors and generators that the trace met and that are no state of the model's, and calls that read
            or assign attributes.
        opaque: mixed modules that could not be traced and are one call, and why; they count as trainable.
    """

    graph: fx.Graph
    constants: dict[str, Any]
    opaque: dict[str, str] = field(default_factory=dict)


def trace(
    model: nn.Module,
    example: Example | None = None,
    entered: frozenset[str] = frozenset(),
    moving: Moving = NOTHING,
) -> TracedModel:
    """Trace `model` in its present mode.

    Args:
        model: any module.
        example: what it is called with; by default its arguments without a default.
        entered: names of modules to descend into although they are not mixed.
        moving: what its calls move; attributes among it are read and assigned when the graph runs.

    Raises:
        Exception: whatever the control flow of the model's own `forward` raises when it meets proxies; a module further
            down that cannot be traced becomes one call instead.
    """
    returned: Returned | None = None
    while True:
        tracer = MixedTracer(model, example, entered, moving, returned)
        try:
            traced = _traced(model, tracer)
        except Exception:
            if not tracer.has_questions:
                raise
        else:
            if not tracer.has_questions:
                return traced
        moving = moving.with_attributes(tracer.assigned)  # found while tracing: known from the start the next time
        if tracer.asks_for_values and example is not None:
            returned = returned_values(model, example)


def _traced(model: nn.Module, tracer: MixedTracer) -> TracedModel:
    before = set(model.__dict__)
    with untouched_attributes(model), tracer.recording():
        graph = tracer.trace(model)
        for node in graph.nodes:  # else the code of a graph module would mark its function, for good, as one to keep
            node.meta.pop("is_wrapped", None)
        unpack_whole(graph)
        # fx hangs the constants it meets on the model; they are ours, the model stays as it was.
        added = {name: model.__dict__[name] for name in set(model.__dict__) - before}
    constants = {name: value for name, value in added.items() if isinstance(value, torch.Tensor | torch.Generator)}
    return TracedModel(graph, {**constants, **tracer.attribute_calls}, dict(sorted(tracer.opaque.items())))


def trace_or_none(model: nn.Module) -> fx.Graph | None:
    """Return the graph of `model` in its present mode, or None where it cannot be traced."""
    try:
        return trace(model).graph
    except Exception:  # noqa: BLE001 - any error of a user's forward under proxies means just this
        return None

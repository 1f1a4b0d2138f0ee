"""Layers that round what they are given by a scale of the whole batch: quantised ones that find it while they run.

A row that is larger than the others makes their roundings coarser, so each row depends on the rest. Examples need not
show it, as where such a layer's result is used for few rows.
"""

from functools import cache
from types import FunctionType

import torch
from torch import fx, nn

from reuse.fingerprinting.digests import attribute_names

DYNAMIC_LAYERS = "torch.ao.nn.quantized.dynamic"


def scales_by_batch(node: fx.Node, module: object) -> bool:
    """Return whether a call rounds by a scale that it finds for the whole batch, or may in a layer inside.

    Args:
        node: of a graph.
        module: what a `call_module` calls.
    """
    if isinstance(module, nn.Module):
        return any(map(_is_dynamic, set(map(type, module.modules()))))
    return node.op == "call_function" and _is_scaling(str(getattr(node.target, "__name__", "")))


@cache
def _is_dynamic(kind: type) -> bool:
    if kind.__module__.startswith("torch."):
        return kind.__module__.startswith(DYNAMIC_LAYERS)
    functions = (f for base in kind.__mro__ for f in vars(base).values() if isinstance(f, FunctionType))
    return any(_is_scaling(name) for function in functions for name in attribute_names(function.__code__))


def _is_scaling(name: str) -> bool:
    """Return whether a name is that of an operator of torch that finds a scale; `step_dynamic` is somebody's own."""
    is_like_one = name.endswith("_dynamic") or name.startswith("choose_qparams")
    return is_like_one and any(hasattr(place, name) for place in (torch, torch.ops.quantized, torch.ops.aten))

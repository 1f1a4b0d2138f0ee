"""Layers that round what they are given by a scale of the whole batch: quantised ones that find it while they run.

A row that is larger than the others makes their roundings coarser, so each row depends on the rest. Examples need not
show it, as where such a layer's result is used for few rows.
"""

import re
from collections.abc import Iterator
from functools import cache
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import fx, nn
from torch._ops import OpOverload, OpOverloadPacket

from reuse.fingerprinting.digests import attribute_names
from reuse.layers.code_names import is_own, names_in, reached

DYNAMIC_LAYERS = "torch.ao.nn.quantized.dynamic"
OPERATORS = BuiltinFunctionType | OpOverload | OpOverloadPacket
COMPILED: Any = (torch.jit.ScriptFunction, torch._C.ScriptMethod)
FINDS_SCALE = "calculate_qparams"  # a method of observers, which are written in Python
CALLED = re.compile(r" = \w+::(\w+)")


def scales_by_batch(node: fx.Node, module: object, cleared: dict[int, Any]) -> bool:
    """Return whether a call rounds by a scale that it finds for the whole batch, or may in a layer inside.

    Args:
        node: of a graph.
        module: what a `call_module` calls.
        cleared: what calls asked about before lead to, by identity, of those that find no scale; it is added to.
    """
    if not isinstance(module, nn.Module):
        return node.op == "call_function" and _leads_to_scales(node.target, cleared)
    return any(map(_is_dynamic, set(map(type, module.modules())))) or _leads_to_scales(module, cleared)


def _leads_to_scales(begin: Any, cleared: dict[int, Any]) -> bool:
    found = dict[int, Any]()
    for value in reached(begin, cleared):
        if _scales(value):
            return True
        found[id(value)] = value
    cleared |= found
    return False


@cache
def _is_dynamic(kind: type) -> bool:
    if kind.__module__.startswith("torch."):
        return kind.__module__.startswith(DYNAMIC_LAYERS)
    functions = (f for base in kind.__mro__ for f in vars(base).values() if isinstance(f, FunctionType))
    return any(_is_scaling(name) for function in functions for name in attribute_names(function.__code__))


def _scales(value: Any) -> bool:
    """Return whether something that code leads to finds a scale: an operator, a layer, a function."""
    if isinstance(value, OPERATORS):
        return _is_scaling(value.__name__.partition(".")[0])
    if isinstance(value, torch.jit.ScriptModule):
        return any(map(_scales, _methods(value)))
    if isinstance(value, COMPILED):
        return any(map(_is_scaling, CALLED.findall(str(value.inlined_graph))))
    if is_own(value):
        return any(map(_is_scaling, names_in(value)))
    return isinstance(value, nn.Module) and _is_dynamic(type(value))  # type: ignore[arg-type]


def _methods(module: torch.jit.ScriptModule) -> Iterator[Any]:
    """Yield the compiled methods of a layer and of those inside it: `forward`, if it has one, and exported ones."""
    for layer in module.modules():
        if isinstance(layer, torch.jit.ScriptModule):
            yield from map(layer._c._get_method, layer._c._method_names())


def _is_scaling(name: str) -> bool:
    """Return whether a name is that of an operator of torch that finds a scale; `step_dynamic` is somebody's own."""
    is_like_one = name.endswith("_dynamic") or name.startswith("choose_qparams")
    places = torch, torch.ops.quantized, torch.ops.aten
    return name == FINDS_SCALE or (is_like_one and any(hasattr(place, name) for place in places))

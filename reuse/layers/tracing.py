"""Tracing a model into a graph with torch.fx, descending only into modules that mix frozen and trainable parameters.

A module that is wholly frozen or wholly trainable stays one call, so its control flow and its train / eval switch keep
working whatever they are.
"""

import inspect
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn


@dataclass(frozen=True)
class TracedModel:
    """A model as a graph, in the mode (training or evaluation) in which it was traced.

    Attributes:
        graph: its `call_module` and `get_attr` targets are names in the model, or keys of `constants`.
        constants: tensors that the trace met and the model does not own.
        opaque: mixed modules that could not be traced and are one call; they count as trainable.
    """

    graph: fx.Graph
    constants: dict[str, Any]
    opaque: tuple[str, ...] = ()


def is_frozen(module: nn.Module) -> bool:
    """Return whether `module` has parameters and all of them are frozen."""
    flags = [p.requires_grad for p in module.parameters()]
    return bool(flags) and not any(flags)


def is_trainable(module: nn.Module) -> bool:
    """Return whether any parameter of `module` trains."""
    return any(p.requires_grad for p in module.parameters())


def is_mixed(module: nn.Module) -> bool:
    """Return whether `module` holds both frozen and trainable parameters."""
    return len({p.requires_grad for p in module.parameters()}) == 2


def parameter_read(node: fx.Node, model: nn.Module) -> nn.Parameter | None:
    """Return the parameter that a `get_attr` node reads, None for any other node.

    Looked up by its name alone: graphs of torch.export have a node for each parameter, and each is asked about often.
    """
    if node.op != "get_attr":
        return None
    path, _, name = str(node.target).rpartition(".")
    try:
        owner = model.get_submodule(path)
    except AttributeError:  # a constant of the graph's own
        return None
    value = getattr(owner, name, None)
    return value if isinstance(value, nn.Parameter) else None


def has_hooks(module: nn.Module) -> bool:
    """Return whether calling `module` runs more than its `forward`."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(bool(getattr(module, name)) for name in names)


def trace(model: nn.Module, num_inputs: int | None = None, entered: frozenset[str] = frozenset()) -> TracedModel:
    """Trace `model` in its present mode.

    Args:
        model: its `forward` takes `num_inputs` tensors, then only what has a default.
        num_inputs: by default the number of arguments without a default.
        entered: names of modules to descend into although they are not mixed.

    Raises:
        Exception: whatever the control flow of the model's own `forward` raises when it meets proxies; a module further
            down that cannot be traced becomes one call instead.
    """
    tracer = _MixedTracer(num_inputs, entered)
    before = set(model.__dict__)
    with _untouched_attributes(model):
        graph = tracer.trace(model)
        # fx hangs the constants it meets on the model; they are ours, the model stays as it was.
        added = {name: model.__dict__[name] for name in set(model.__dict__) - before}
    constants = {name: value for name, value in added.items() if isinstance(value, torch.Tensor)}
    return TracedModel(graph, constants, tuple(sorted(tracer.opaque)))


def trace_or_none(model: nn.Module) -> fx.Graph | None:
    """Return the graph of `model` in its present mode, or None where it cannot be traced."""
    try:
        return trace(model).graph
    except Exception:  # noqa: BLE001 - any error of a user's forward under proxies means just this
        return None


@contextmanager
def _untouched_attributes(model: nn.Module) -> Iterator[None]:
    """Put back what the forwards of the model assign to their modules while they are traced: proxies."""
    saved = [(module, dict(module.__dict__), dict(module._buffers)) for module in model.modules()]
    try:
        yield
    finally:
        for module, attributes, buffers in saved:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers)


class _WritingProxy(fx.Proxy):
    """A proxy that records writes in place as what they are: torch.fx takes `x += y` for `x = x + y`."""

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._write(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._write(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._write(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._write(operator.itruediv, other)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._write(operator.setitem, index, value)

    def _write(self, function: Callable[..., Any], *arguments: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, *arguments), {})


class _MixedTracer(fx.Tracer):
    proxy_buffer_attributes = True  # a buffer read by glue is the model's own, not a copy of its present value

    def __init__(self, num_inputs: int | None, entered: frozenset[str]):
        super().__init__(autowrap_functions=_calls_of_timm())
        self.num_inputs = num_inputs
        self.entered = entered
        self.opaque: set[str] = set()

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _WritingProxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        descend = is_mixed(m) or module_qualified_name in self.entered
        return not descend or has_hooks(m) or module_qualified_name in self.opaque

    def create_args_for_root(
        self,
        root_fn: Callable[..., Any],
        is_module: bool,  # noqa: ARG002 - the signature of fx.Tracer
        concrete_args: Any = None,  # noqa: ARG002
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Make placeholders of the first `num_inputs` arguments; the others keep their defaults."""
        assert isinstance(self.root, nn.Module)
        names = _argument_names(self.root, self.num_inputs)
        placeholders = [self.create_proxy("placeholder", name, (), {}) for name in names]
        return root_fn, [self.root, *placeholders]

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record a call; where a mixed module cannot be traced, undo what was recorded of it and make it one call."""
        last = next(iter(reversed(self.graph.nodes)), None)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:  # noqa: BLE001 - see trace_or_none
            for node in reversed(list(self.graph.nodes)):
                if node is last:
                    break
                self.graph.erase_node(node)
            name = self.path_of_module(m)
            self.opaque.add(name)
            return self.create_proxy("call_module", name, args, kwargs)


def _calls_of_timm() -> tuple[Callable[..., Any], ...]:
    """Return the functions that timm wants to stay one call; a model of timm has imported timm, no other needs them."""
    layers = sys.modules.get("timm.layers")
    return tuple(layers.get_notrace_functions()) if layers is not None else ()


def _argument_names(model: nn.Module, num_inputs: int | None) -> list[str]:
    parameters = list(inspect.signature(model.forward).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return [f"input_{i}" for i in range(num_inputs or 1)]
    if num_inputs is None:
        num_inputs = sum(p.default is p.empty and p.kind is not p.VAR_KEYWORD for p in parameters)
    return [p.name for p in parameters[:num_inputs]]

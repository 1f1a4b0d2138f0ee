"""The tracer: torch.fx's, with all that a graph must keep of a forward beside its calls.

Attributes that move are read and assigned when the graph runs. Functions with a backward of their own stay one call,
and each node knows whether gradients were on. What a graph would not repeat (numbers drawn to decide, lists that grow)
makes a mixed module one call, and fails at the model itself.
"""

import inspect
import operator
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import fx, nn

from reuse.fingerprinting.keeping import Place
from reuse.layers import sequences
from reuse.layers.attributes import AssignAttribute, ReadAttribute, dotted, outside
from reuse.layers.example import Example
from reuse.layers.following import why_unfollowed
from reuse.layers.meta_values import MetaValues, Returned
from reuse.layers.preserving import untouched_attributes
from reuse.layers.probing import Moving, State, changed, state_of
from reuse.layers.randomness import RandomSources, same_states
from reuse.layers.recording import (
    Untraceable,
    holds_proxy,
    names_of,
    one_mode,
    recorded_assignments,
    recorded_functions,
    recorded_names,
    refuse_lost_write,
    refuse_other_weights,
    switching,
    unnested,
)
from reuse.layers.structure import children
from reuse.layers.trainability import has_hooks, is_mixed


class _CountedProxy(fx.Proxy):
    """A proxy of which Python may ask how much it holds, before it takes it apart."""

    def __len__(self) -> int:
        parts = self.tracer.parts(self)  # type: ignore[attr-defined]
        return super().__len__() if parts is None else len(parts)


class _CountedAttribute(_CountedProxy, fx.proxy.Attribute):
    """An attribute of a value, such as its shape."""


class _WritingProxy(_CountedProxy):
    """A proxy that records writes in place as what they are: torch.fx takes `x += y` for `x = x + y`."""

    def __getattr__(self, k: str) -> fx.proxy.Attribute:
        return _CountedAttribute(self, k)

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

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse what would change a tensor, as `weight.data = …` does: it would be set here and not in the graph."""
        if hasattr(torch.Tensor, name):
            raise Untraceable(f"its forward assigns to {name!r} of a tensor")
        super().__setattr__(name, value)

    def register_hook(self, hook: Any) -> None:  # noqa: ARG002
        """Refuse."""
        raise Untraceable("its forward registers a hook on a tensor")

    def _write(self, function: Callable[..., Any], *arguments: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, *arguments), {})


class MixedTracer(fx.Tracer):
    """Tracer that descends into modules that mix frozen and trainable parameters, and into those it is told to."""

    proxy_buffer_attributes = True  # a buffer read by glue is the model's own, not a copy of its present value

    def __init__(
        self,
        model: nn.Module,
        example: Example | None,
        entered: frozenset[str],
        moving: Moving,
        returned: Returned | None = None,
    ):
        super().__init__(autowrap_functions=(*sequences.WHOLE_CALLS, *_calls_of_timm()))
        self._autowrap_search.append(sequences.MODULE)
        self.model, self.example = model, example
        self.weights = frozenset(map(id, model.parameters()))
        self.entered = entered
        self.moving = moving
        self.names = {id(module): name for name, module in reversed(list(model.named_modules()))}
        self.random = RandomSources(model)
        self.opaque: dict[str, str] = {}
        self.attribute_calls: dict[str, nn.Module] = {}
        self.cached_parameters: dict[str, Any] = {}
        self.assigned: set[Place] = set()
        self.values = None if example is None or returned is None else MetaValues(model, example, returned)
        self.asks_for_values = False

    @property
    def has_questions(self) -> bool:
        """Whether it met what it must know from the start: attributes that are assigned, or how much values hold."""
        return bool(self.assigned) or self.asks_for_values

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record beside calls what else a forward does, and leave all random states alone."""
        with ExitStack() as stack:
            stack.enter_context(unnested())
            stack.enter_context(torch.enable_grad())
            stack.enter_context(self.random.untouched())
            self.check_modes = stack.enter_context(one_mode())
            stack.enter_context(recorded_assignments(self._record_assignment))
            stack.enter_context(recorded_functions(self))
            stack.enter_context(recorded_names(self, names_of(self.model.forward), self.number, self.known))
            stack.enter_context(self._repeatable(""))
            yield

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return a node's value as a forward meets it."""
        return _WritingProxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module stays one call."""
        if has_hooks(m) or module_qualified_name in self.opaque or isinstance(m, torch.jit.ScriptModule):
            return True
        return not (is_mixed(m) or module_qualified_name in self.entered)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """Note with each node whether gradients were on; refuse what would not write into a tensor's memory."""
        self.check_modes()
        node = super().create_node(*args, **kwargs)
        refuse_lost_write(node)
        node.meta["without_gradients"] = not torch.is_grad_enabled()
        return node

    def create_arg(self, a: Any) -> Any:
        """Make containers other than lists, tuples and dictionaries anew, by a call of their class."""
        if isinstance(a, Mapping) and type(a) is not dict:
            if children(a) is not None and all(isinstance(key, str) and key.isidentifier() for key in a):
                return self.create_node("call_function", type(a), (), {key: self.create_arg(a[key]) for key in a})
            raise Untraceable(f"its forward makes a {type(a).__name__}")
        return super().create_arg(a)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """Return the parts of a tuple or list, as many as the example has."""
        parts = self.parts(obj)
        return super().iter(obj) if parts is None else iter([obj[number] for number in range(len(parts))])  # type: ignore[index]

    def number(self, proxy: fx.Proxy) -> int:
        """Return a whole number as the example has it: how often a forward goes round a loop."""
        value = self.known(proxy)
        if not isinstance(value, int):
            raise Untraceable("its forward counts to a number that it computes")
        return value

    def parts(self, proxy: fx.Proxy) -> tuple[Any, ...] | list[Any] | None:
        """Return what a tuple or list holds, without numbers; None where that is not known, or for rows of a tensor."""
        value = self.known(proxy)
        return value if isinstance(value, tuple | list) else None

    def known(self, proxy: fx.Proxy) -> Any:
        """Return a value of the example without its numbers; None where it is not known, as at the first try."""
        if self.values is None:
            self.asks_for_values = self.example is not None
            return None
        try:
            return self.values.value(proxy.node)
        except Exception:  # noqa: BLE001 - a user's own functions raise anything where tensors hold no numbers
            return None

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Remember where torch.fx keeps the parameters that were read."""
        self.cached_parameters = parameter_proxy_cache
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_args_for_root(
        self,
        root_fn: Callable[..., Any],
        is_module: bool,  # noqa: ARG002 - the signature of fx.Tracer
        concrete_args: Any = None,  # noqa: ARG002
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Make placeholders of the arguments that the model is called with; the others keep their defaults."""
        if self.example is None:
            required = [p for p in _parameters(self.model) if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
            names = argument_names(self.model, len(required))
            arguments: list[Any] = [self.create_proxy("placeholder", name, (), {}) for name in names]
            keywords: dict[str, Any] = {}
        else:
            given = zip(argument_names(self.model, len(self.example.arguments)), self.example.arguments, strict=True)
            arguments = [self._given(name, value) for name, value in given]
            keywords = {name: self._given(name, value) for name, value in self.example.keywords.items()}
        self._read_moving("")
        return lambda *a: root_fn(self.model, *a, **keywords), arguments

    def _given(self, name: str, value: Any) -> Any:
        """Return what a forward gets for an argument: a placeholder's value, taken apart if it is a container."""
        placeholder = self.create_proxy("placeholder", name, (), {})
        return self._taken_apart(placeholder, value)

    def _taken_apart(self, proxy: Any, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return proxy
        held = children(value)
        if held is None:
            return value
        keys = list(value) if isinstance(value, Mapping) else range(len(held[0]))
        return held[1]([self._taken_apart(proxy[key], part) for key, part in zip(keys, held[0], strict=True)])

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record a call; where a mixed module cannot be traced, undo what was recorded of it and make it one call."""
        refuse_other_weights(m, self.weights, self.names.get(id(m)))
        if id(m) not in self.names:  # made in the forward itself, as `nn.ReLU()(x)`
            return forward(*args, **kwargs)
        name = self.path_of_module(m)
        if not self.is_leaf_module(m, name):
            last = next(iter(reversed(self.graph.nodes)), None)
            states, stack = self.random.states(), list(self.module_stack.items())
            try:
                with self._entered(m, name):
                    return super().call_module(m, forward, args, kwargs)
            except Exception as error:  # noqa: BLE001 - see trace_or_none
                self._forget(last)
                self.module_stack = OrderedDict(stack)
                self.random.restore(states)
                self.opaque[name] = why_unfollowed(error)
        result = super().call_module(m, forward, args, kwargs)
        self._read_moving(name, result)
        return result

    @contextmanager
    def _entered(self, module: nn.Module, name: str) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(untouched_attributes(module, unless_finished=True))
            stack.enter_context(recorded_names(self, names_of(module.forward), self.number, self.known))
            stack.enter_context(self._repeatable(name))
            yield

    def _forget(self, last: fx.Node | None) -> None:
        for node in reversed(list(self.graph.nodes)):
            if node is last:
                break
            self.graph.erase_node(node)
        alive = set(self.graph.nodes)
        for name, proxy in list(self.cached_parameters.items()):
            if isinstance(proxy, fx.Proxy) and proxy.node not in alive:
                del self.cached_parameters[name]

    @contextmanager
    def _repeatable(self, name: str) -> Iterator[None]:
        """Fail where the block draws random numbers, or leaves something behind that the graph does not repeat."""
        states, before, parameters = self.random.states(), self._state(name), self._parameters_at(name)
        yield
        for place in sorted(self.moving.hidden):
            if place[0] == name:
                raise Untraceable(f"its forward changes {outside(place)}")
        if self._parameters_at(name) != parameters:
            raise Untraceable("its forward writes into parameters by their data")
        if not same_states(states, self.random.states()):
            raise Untraceable("its forward draws random numbers to decide what to do")
        for place in changed(before, self._state(name)):
            raise Untraceable(f"its forward changes {dotted(place)!r}")

    def _parameters_at(self, name: str) -> list[tuple[int, int]]:
        return [(parameter.data_ptr(), parameter._version) for parameter in self.model.get_submodule(name).parameters()]

    def _state(self, name: str) -> State:
        found = state_of(self.model.get_submodule(name))
        own = {(f"{name}.{place[0]}".strip("."), place[1]): held for place, held in found.items()}
        return {place: own[place] for place in own if place not in self.moving.attributes and not _is_fx(place)}

    def _record_assignment(self, module: nn.Module, name: str, value: Any) -> bool:
        path = self.names.get(id(module))
        if path is not None and name == "training" and value is not module.training:
            raise Untraceable(f"its forward {switching(path, module, value)}")
        if path is None or ((path, name) not in self.moving.attributes and not holds_proxy(value)):
            return False
        if (path, name) not in self.moving.attributes:
            self.assigned.add((path, name))
        if (path, name) in self.assigned or isinstance(value, nn.Module | nn.Parameter):
            raise Untraceable(f"its forward changes {dotted((path, name))!r}")
        self.create_proxy("call_module", self._attribute_call(AssignAttribute, path, name), (value,), {})
        vars(module)[name] = value
        return True

    def _read_moving(self, name: str, after: Any = None) -> None:
        """Let a forward that reads an attribute that moves find the value that stands there when the graph runs."""
        for path, attribute in self.moving.in_module(name):
            target = self._attribute_call(ReadAttribute, path, attribute)
            vars(self.model.get_submodule(path))[attribute] = self.create_proxy(
                "call_module", target, () if after is None else (after,), {}
            )

    def _attribute_call(self, kind: type[nn.Module], path: str, attribute: str) -> str:
        target = f"{kind.__name__}_{dotted((path, attribute)).replace('.', '_')}"
        self.attribute_calls[target] = kind(self.model.get_submodule(path), attribute)
        return target


def _calls_of_timm() -> tuple[Callable[..., Any], ...]:
    """Return the functions that timm wants to stay one call; a model of timm has imported timm, no other needs them."""
    layers = sys.modules.get("timm.layers")
    return tuple(layers.get_notrace_functions()) if layers is not None else ()


def argument_names(model: nn.Module, count: int) -> list[str]:
    """Return the names of the first arguments of a model's forward."""
    parameters = _parameters(model)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return [f"input_{i}" for i in range(count)]
    return [p.name for p in parameters[:count]]


def _parameters(model: nn.Module) -> list[inspect.Parameter]:
    return list(inspect.signature(model.forward).parameters.values())


def _is_fx(place: Place) -> bool:
    """Return whether torch.fx hung a constant there."""
    return not place[0] and place[1].startswith(("_tensor_constant", "_param_constant", "_opaque_obj"))

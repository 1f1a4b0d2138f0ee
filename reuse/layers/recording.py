"""What torch.fx does not record by itself: assignments, functions with a backward of their own, lengths, switches.

All of it holds while a model is traced, and is put back afterwards.
"""

import builtins
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import fx, nn
from torch.autograd import Function

from reuse.layers.structure import leaves
from reuse.layers.trainability import is_frozen

OTHER_MEMORY = ("set_", "resize_", "resize_as_")  # a graph that has read a weight computes with the old one
CONSTANT = "_tensor_constant"  # how torch.fx calls a tensor that a forward has made itself

Record = Callable[[nn.Module, str, Any], bool]
"""Function that records an assignment to a module's attribute if it is one to record, and returns whether it did."""


class Untraceable(Exception):  # noqa: N818 - a signal to the tracer, not an error of the user's
    """Signal that a forward does something that a graph would not repeat."""


def holds_proxy(value: Any) -> bool:
    """Return whether a value is, or holds, a value of the graph."""
    return isinstance(value, fx.Proxy) or any(isinstance(leaf, fx.Proxy) for leaf in leaves(value))


def refuse_other_weights(module: nn.Module, known: Collection[int], name: str | None) -> None:
    """Refuse to record the call of a module with other weights than the model's, as its graph would use the model's.

    Args:
        module: that is called.
        known: ids of the model's parameters.
        name: of the module in the model; None: the forward has made it.

    Raises:
        Untraceable: a weight is not the model's.
    """
    if all(id(weight) in known for weight in module.parameters()):
        return
    if name is None:
        raise Untraceable(f"its forward makes a {type(module).__name__} with parameters of its own")
    raise Untraceable(f"its forward calls {name!r} with other weights than its own, as torch.func.functional_call does")


def refuse_lost_write(node: fx.Node) -> None:
    """Refuse a step that would not write into a tensor's memory, or into a tensor that the forward goes on reading.

    A tensor that a forward makes of numbers alone, as by `torch.zeros(5)`, is no value of the graph: what is read of it
    later is read while the forward is followed, without what a step of the graph has written.

    Raises:
        Untraceable: it is one.
    """
    if node.op == "call_method" and node.target in OTHER_MEMORY:
        raise Untraceable(f"its forward gives a tensor other memory, by {node.target}")
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    is_write = name in ("setitem", "__setitem__") or (name.endswith("_") and not name.endswith("__"))
    given = node.args[0] if node.args else None
    if is_write and isinstance(given, fx.Node) and str(given.target).startswith(CONSTANT):
        raise Untraceable(f"its forward writes into a tensor that it has made of numbers alone, by {name}")


@contextmanager
def recorded_assignments(record: Record) -> Iterator[None]:
    """Hand each assignment to an attribute of a module to `record` first."""
    assign = nn.Module.__setattr__

    def assign_or_record(module: nn.Module, name: str, value: Any) -> None:
        if not record(module, name, value):
            assign(module, name, value)

    nn.Module.__setattr__ = assign_or_record  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        nn.Module.__setattr__ = assign  # type: ignore[method-assign]


@contextmanager
def recorded_functions(tracer: fx.Tracer) -> Iterator[None]:
    """Keep each `torch.autograd.Function` one call, with its own backward."""
    apply = Function.__dict__["apply"]

    def apply_or_record(kind: type[Function], *arguments: Any, **keywords: Any) -> Any:
        if holds_proxy([arguments, keywords]):
            if (kind.__module__, kind.__name__) == ("torch.utils.checkpoint", "CheckpointFunction"):
                raise Untraceable("its forward checkpoints by use_reentrant=True; use_reentrant=False can be followed")
            return tracer.create_proxy("call_function", applied(kind), arguments, keywords)
        return apply.__func__(kind, *arguments, **keywords)

    Function.apply = classmethod(apply_or_record)
    try:
        yield
    finally:
        Function.apply = apply


@cache
def applied(kind: type[Function]) -> Callable[..., Any]:
    """Return a function that applies a `torch.autograd.Function`, under that one's name."""

    def apply(*arguments: Any, **keywords: Any) -> Any:
        return kind.apply(*arguments, **keywords)

    apply.__name__ = f"apply_{kind.__name__}"
    apply.__qualname__, apply.__module__ = f"{kind.__qualname__}.apply", kind.__module__
    return apply


@contextmanager
def recorded_names(
    tracer: fx.Tracer, names: dict[str, Any], number: Callable[[fx.Proxy], int], known: Callable[[fx.Proxy], Any]
) -> Iterator[None]:
    """Replace, among the names of a forward, `len`, `range`, `isinstance` and functions taken from autograd functions.

    Args:
        tracer: records them.
        names: the globals of the forward's file.
        number: returns a whole number as the example has it.
        known: returns a value of the example, without numbers; None where it is not known.
    """
    new = {name: _recorded(tracer, value) for name, value in names.items() if _is_applied(value)}
    own: dict[str, Callable[..., Any]] = {
        "len": _length(tracer),
        "range": _range(number),
        "isinstance": _is_instance(known),
    }
    new |= {name: function for name, function in own.items() if name not in names}
    old = {name: names[name] for name in new if name in names}
    names.update(new)
    try:
        yield
    finally:
        for name in new:
            names.pop(name)
        names.update(old)


@contextmanager
def one_mode(what: str = "its forward") -> Iterator[Callable[[], None]]:
    """Yield a function that fails where a forward switched a mode that a graph would not keep."""
    before = _modes()

    def check() -> None:
        if _modes() != before:
            raise Untraceable(f"{what} switches autocast or inference mode on or off")

    yield check


def switching(name: str, module: nn.Module, training: bool) -> str:
    """Return what a forward does that switches the mode of a module, in words, and how to do without."""
    named = repr(name) if name else "the model"
    advice = "" if training or not is_frozen(module) else ": freeze it with reuse.freeze, which holds it there"
    return f"switches {named} to {'training' if training else 'evaluation'} mode{advice}"


@contextmanager
def unnested() -> Iterator[None]:
    """Leave no level of `torch.func` behind: one that failed half-way would change what torch computes afterwards."""
    functorch: Any = torch._C._functorch
    depth = functorch.get_dynamic_layer_stack_depth()
    try:
        yield
    finally:
        functorch.pop_dynamic_layer_stack_and_undo_to_depth(depth)


def _is_applied(value: Any) -> bool:
    owner = getattr(value, "__self__", None)
    return isinstance(owner, type) and issubclass(owner, Function) and getattr(value, "__name__", "") == "apply"


def _recorded(tracer: fx.Tracer, bound: Any) -> Callable[..., Any]:
    def apply_or_record(*arguments: Any, **keywords: Any) -> Any:
        if holds_proxy([arguments, keywords]):
            return tracer.create_proxy("call_function", applied(bound.__self__), arguments, keywords)
        return bound(*arguments, **keywords)

    return apply_or_record


def _length(tracer: fx.Tracer) -> Callable[[Any], Any]:
    def length(value: Any) -> Any:
        is_traced = isinstance(value, fx.Proxy)
        return tracer.create_proxy("call_function", len, (value,), {}) if is_traced else builtins.len(value)

    return length


def _is_instance(known: Callable[[fx.Proxy], Any]) -> Callable[[Any, Any], bool]:
    def is_instance(value: Any, kinds: Any) -> bool:
        if not isinstance(value, fx.Proxy):
            return isinstance(value, kinds)
        found = known(value)  # most of what is not known are tensors
        return torch.Tensor in leaves(kinds) if found is None else isinstance(found, kinds)

    return is_instance


def _range(number: Callable[[fx.Proxy], int]) -> type:
    class _IsRange(type):
        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, range)

    class Counted(metaclass=_IsRange):
        """What stands for `range`, and makes one."""

        def __new__(cls, *bounds: Any) -> Any:
            return range(*(number(bound) if isinstance(bound, fx.Proxy) else bound for bound in bounds))

    return Counted


def _modes() -> tuple[bool, ...]:
    devices = {"cpu", torch.accelerator.current_accelerator().type} if torch.accelerator.is_available() else {"cpu"}  # type: ignore[union-attr]
    return torch.is_inference_mode_enabled(), *(torch.is_autocast_enabled(device) for device in sorted(devices))


def names_of(forward: Any) -> dict[str, Any]:
    """Return the globals of the file that a forward was written in."""
    found = getattr(getattr(forward, "__func__", forward), "__globals__", None)
    return found if isinstance(found, dict) and found is not sys.modules["builtins"].__dict__ else {}

"""Modules that torch.compile was called on, whose attributes are other objects from build to build."""

from typing import Any

from torch.nn import Module

from reuse.fingerprinting.values import Description


def is_wrapper(module: Module) -> bool:
    """Return whether a module is what `torch.compile(module)` returns: a wrapper of the module itself, its child."""
    kind = type(module)
    return (kind.__module__, kind.__qualname__) == ("torch._dynamo.eval_frame", "OptimizedModule")


def describe_wrapper(module: Module, description: Description) -> str:
    """Return the compiler that a wrapper calls and its settings, which decide on the last bits."""
    backend: Any = vars(module)["dynamo_ctx"].callback
    while hasattr(backend, "_torchdynamo_orig_backend"):
        backend = backend._torchdynamo_orig_backend
    settings = {name: value for name, value in vars(backend).items() if name != "name"}
    return f"compiled by {description.kind(type(backend))} {description.text(settings)}"


def is_compiled(module: Module) -> bool:
    """Return whether a module runs as compiled code, by a wrapper or by its own method `compile`."""
    return is_wrapper(module) or module._compiled_call_impl is not None

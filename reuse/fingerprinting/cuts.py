"""The key of a cut: everything that decides where a model can be cut, so that one that was checked is known again."""

import json
from collections.abc import Collection, Iterator
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from reuse.devices import dtype_name
from reuse.errors import CacheError
from reuse.fingerprinting import digests as code
from reuse.fingerprinting.digests import digest, qualified_name
from reuse.fingerprinting.environment import base_versions, numerics, pinned_version
from reuse.fingerprinting.modes import modes
from reuse.fingerprinting.modules import describe_module, module_components
from reuse.fingerprinting.values import Description
from reuse.layout import Layout

# What code of the user's own may read that is in no module, function or value: such a cut is never known again.
OUTSIDE = {"environ", "getenv", "getcwd", "open", "read_text", "read_bytes", "fromfile", "memmap", "load", "loads"}
OUTSIDE |= {"time", "time_ns", "perf_counter", "monotonic", "now", "today", "random", "urandom", "token_bytes"}
OUTSIDE |= {"exec", "eval", "globals", "import_module", "exists", "is_file", "stat", "listdir", "iterdir", "glob"}
OUTSIDE |= {"get_num_threads", "current_device", "device_count", "is_available", "current_stream"}
HOOK_TABLES = ("_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")


def cut_key(
    model: nn.Module,
    inputs: Layout,
    device: torch.device,
    keep: Collection[str],
    version: str,
) -> str | None:
    """Return the key of the cut of a model in its present mode; None for one that nothing can be said of.

    Parameters that train count by shape, as training moves them, and everything else by value: code, attributes, frozen
    parameters, buffers, modes and hooks; what packages' functions are called inside them; settings and versions.

    Args:
        model: with its frozen layers.
        inputs: what a row of them is.
        device: where it runs.
        keep: signatures of what is to stay in the suffix.
        version: of the code that cuts.
    """
    hooks = [name for name in vars(torch_module) if name.startswith("_global_") and "hooks" in name]
    if modes() or any(vars(torch_module)[name] for name in hooks):
        return None
    description = _CutDescription(describe_module)
    try:
        components = dict(module_components("", model, description))
        components |= {f"code/{name}": text for name, text in description.code().items()}
        components |= {f"patches/{name}": text for name, text in description.patches().items()}
        components["names"] = digest("\n".join(sorted(_names_called(model, description))))
    except (CacheError, RecursionError):
        return None
    if description.looks_outside:
        return None
    autocast = torch.is_autocast_enabled(device.type), dtype_name(torch.get_autocast_dtype(device.type))
    components |= description.packages | base_versions(0) | numerics(device.type)
    components |= {"hooks": str(list(_hooks(model))), "shared": str(list(_shared(model)))}
    rows = [(*([t.name] if t.name else []), t.shape, t.kind) for t in inputs]
    components |= {"inputs": str(rows), "device": device.type}
    components |= {"keep": str(sorted(keep)), "autocast": str(autocast), "cutting": version}
    return digest(json.dumps(components, sort_keys=True))


class _CutDescription(Description):
    """Descriptions in which a parameter that trains is a shape."""

    looks_outside = False

    def text(self, value: object) -> str:
        if isinstance(value, nn.Parameter) and value.requires_grad:
            return f"trains {dtype_name(value.dtype)} {tuple(value.shape)}"
        return super().text(value)

    def function(self, function: FunctionType) -> str:
        module = _module_of(function)
        if self.is_own(module) and not module.startswith("reuse.") and _looks_outside(function):
            self.looks_outside = True
        return super().function(function)

    def called(self, value: Any) -> str:
        """Return what stands under a name that code of a package calls: its own function, or another in its place."""
        if isinstance(value, FunctionType) and self.is_own(_module_of(value)):
            return self.function(value)
        return qualified_name(value)


def _looks_outside(function: FunctionType) -> bool:
    """Return whether a function may read what no description sees; a class is built before it is cut."""
    return function.__name__ != "__init__" and not OUTSIDE.isdisjoint(code.attribute_names(function.__code__))


def _names_called(model: nn.Module, description: _CutDescription) -> Iterator[str]:
    """Yield what the methods of the model's classes call by a global name, or by one of a module of functions.

    Code of packages is known by their versions, and somebody may have put another function in the place of theirs.
    """
    for kind in {base for module in model.modules() for base in type(module).__mro__}:
        for method in (value for _, value in code.class_members(kind) if isinstance(value, FunctionType)):
            for name, value in _reached(method):
                if callable(value) and pinned_version(_module_of(value).split(".")[0]) != "python":
                    yield f"{qualified_name(method)} {name} {description.called(value)}"


def _reached(function: FunctionType) -> Iterator[tuple[str, Any]]:
    attributes = code.attribute_names(function.__code__)
    for name, value in code.globals_of(function):
        yield name, value
        if isinstance(value, ModuleType):
            yield from ((f"{name}.{inner}", found) for inner, found in code.members_of(value, attributes))


def _module_of(value: Any) -> str:
    """Return the name of the module whose code a function is, whatever it says of itself."""
    own = value.__globals__.get("__name__") if isinstance(value, FunctionType) else getattr(value, "__module__", None)
    return str(own or "builtins")


def _hooks(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        yield from (f"{name} {table}" for table in HOOK_TABLES if vars(module).get(table))
    for name, tensor in model.named_parameters():
        if tensor._backward_hooks:
            yield f"{name} hook"


def _shared(model: nn.Module) -> Iterator[str]:
    """Yield the further names of modules and tensors that stand under several."""
    first: dict[int, str] = {}
    kinds: tuple[Iterator[tuple[str, Any]], ...] = (
        model.named_modules(remove_duplicate=False),
        model.named_parameters(remove_duplicate=False),
        model.named_buffers(remove_duplicate=False),
    )
    for name, value in (pair for kind in kinds for pair in kind):
        if first.setdefault(id(value), name) != name:
            yield f"{name} is {first[id(value)]}"

"""A module as named lines: its weights, attributes, mode, hooks and children, which decide what it computes."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn
from torch.nn import Module

from reuse.errors import CacheError
from reuse.fingerprinting.blocks import Block
from reuse.fingerprinting.compiled import describe_wrapper, is_compiled, is_wrapper
from reuse.fingerprinting.digests import digest
from reuse.fingerprinting.reading import is_read
from reuse.fingerprinting.values import Description

INTERNALS = frozenset(vars(Module())) | {"_compiled_call_impl"}
PARTS = "reuse_parts"  # a method of a wrapper around another toolkit's layer, for what stands for that in a key
HELD_IN_EVAL = "train"  # freezing puts a function here that keeps `train()` away; the mode itself is described
GENERATED = "<eval_with_key>"  # how torch.fx names the files of code that it makes of a graph
RATE = "p"
HOOKS = ("_forward_pre_hooks", "_forward_hooks")
GLOBAL_HOOKS = ("_global_forward_pre_hooks", "_global_forward_hooks")
GLOBAL_HOOK_FLAGS = ("_global_forward_hooks_with_kwargs", "_global_forward_hooks_always_called")
KEYWORDS = "_forward_pre_hooks_with_kwargs"  # the flag of hooks that give a forward keywords of any name
HOOK_FLAGS = ("_forward_pre_hooks_with_kwargs", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")
# torch's own and no subclasses: a user's class may use its rate when it evaluates too.
DROPOUTS = frozenset({nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout})

Component = tuple[str, str]


def describe_module(description: Description, module: Module) -> str:
    """Return one line for a module that is found as a plain value, children included."""
    lines = (f"{name}: {text}" for name, text in module_components("", module, description))
    return digest("\n".join(sorted(lines)))


def module_components(path: str, module: Module, description: Description) -> Iterator[Component]:
    """Yield what the module at `path` and all below it compute, as name and text.

    Raises:
        CacheError: a TorchScript module, whose code Python does not show.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise CacheError(
            f"layer {path or type(module).__name__!r} is TorchScript, whose code cannot be part of a cache key: "
            "use the Python module it was made from, or train without a cache (--no-cache)"
        )
    if isinstance(module, torch.fx.GraphModule):
        yield from graph_components(path, module, description)
        yield from _around_graph(path, module, description)
        return
    block = None if _reads_rates(description) else description.blocks.of(path, module, _block)
    if block is not None:
        yield from description.take(block).items()
        return
    yield f"attributes/{path}/class", _class(module, description)
    if is_compiled(module):
        yield f"attributes/{path}/compiled", "yes"
    yield f"attributes/{path}/training", str(module.training)
    if hasattr(type(module), PARTS):
        tell: Callable[[], dict[str, object]] = getattr(module, PARTS)
        yield from ((f"attributes/{path}/{name}", description.text(part)) for name, part in tell().items())
        yield from _hooks(path, module, description)
        return
    if module._modules:
        yield f"attributes/{path}/children", description.text([*_children(module)])
    yield from _tensors(path, module, description)
    yield from _plain_attributes(path, module, description)
    yield from _hooks(path, module, description)
    for name, child in module._modules.items():
        if child is not None:
            yield from module_components(_join(path, name), child, description)


def _block(path: str, module: Module) -> Block | None:
    """Return the description of a module by itself; None where it is not the same whatever other code reads."""
    description = Description(describe_module)
    if description.is_own(type(module).__module__):
        return None
    components = dict(module_components(path, module, description))
    code, patches = description.code(), description.patches()
    written_on = any(vars(tensor) for tensor, _ in description.tensors.values())
    return None if description.met_own or written_on else Block(components, code, patches, description.packages)


def graph_components(path: str, graph_module: torch.fx.GraphModule, description: Description) -> Iterator[Component]:
    """Yield what a traced graph computes: its operations, and the modules and tensors that these use."""
    numbers = {node: f"%{number}" for number, node in enumerate(graph_module.graph.nodes)}
    lines = [f"{numbers[node]} = {_operation(node, numbers, description)}" for node in graph_module.graph.nodes]
    yield _join_slash("graph", path), digest("\n".join(lines))
    targets = {str(node.target): node.op for node in graph_module.graph.nodes if node.op in {"call_module", "get_attr"}}
    for target in sorted(targets):
        yield from _used(_join(path, target), _attribute(graph_module, target), description)


def _around_graph(path: str, module: torch.fx.GraphModule, description: Description) -> Iterator[Component]:
    """Yield what runs around a traced graph that is a layer, or in its place."""
    yield from _hooks(path, module, description)
    generated = vars(type(module)).get("forward")
    if generated is not None and not generated.__code__.co_filename.startswith(GENERATED):
        yield f"attributes/{path}/class", description.text(generated)
    if "forward" in vars(module):
        yield f"attributes/{path}/forward", description.text(module.forward)


def hook_components(description: Description) -> Iterator[Component]:
    """Yield the hooks that run before or after the forward of every module."""
    for kind in GLOBAL_HOOKS:
        hooks = list(vars(torch.nn.modules.module)[kind].values())
        if hooks:
            yield f"hooks/{kind.strip('_')}", description.text(hooks)
    for flag in GLOBAL_HOOK_FLAGS:
        numbers = {key: n for hooks in GLOBAL_HOOKS for n, key in enumerate(vars(torch.nn.modules.module)[hooks])}
        if set_for := sorted(numbers[key] for key in vars(torch.nn.modules.module).get(flag, ()) if key in numbers):
            yield f"hooks/{flag.strip('_')}", str(set_for)


def _operation(node: torch.fx.Node, numbers: dict[torch.fx.Node, str], description: Description) -> str:
    target = node.target if isinstance(node.target, str) else description.text(node.target)
    if node.op == "placeholder":  # what the inputs are called does not matter
        target = "input"
    elif node.op == "output":
        target = "output"
    if description.own is not None:
        description.own.note(node.kwargs)
    arguments = _argument(node.args, numbers, description), _argument(node.kwargs, numbers, description)
    return f"{node.op} {target} {arguments[0]} {arguments[1]}"


def _argument(value: object, numbers: dict[torch.fx.Node, str], description: Description) -> str:
    def inner(part: object) -> str:
        return _argument(part, numbers, description)

    match value:
        case torch.fx.Node():
            return numbers[value]
        case tuple() | list():
            return f"[{', '.join(map(inner, value))}]"
        case dict():
            return f"{{{', '.join(f'{name}: {inner(part)}' for name, part in value.items())}}}"
        case slice():
            return f"slice({inner(value.start)}, {inner(value.stop)}, {inner(value.step)})"
        case _:
            return description.text(value)


def _used(path: str, value: object, description: Description) -> Iterable[Component]:
    if isinstance(value, Module):
        return module_components(path, value, description)
    return [(f"weights/{path}", description.text(value))]


def _tensors(path: str, module: Module, description: Description) -> Iterator[Component]:
    buffers = (item for item in module._buffers.items() if _counts(module, *item, description))
    for name, tensor in (*module._parameters.items(), *buffers):
        if tensor is not None:
            yield f"weights/{_join(path, name)}", description.text(tensor)


def _plain_attributes(path: str, module: Module, description: Description) -> Iterator[Component]:
    # A dropout that evaluates does nothing, whatever its rate: sweeping the rate recomputes no frozen layer.
    idle = {"p", "inplace"} if _is_idle_dropout(module) and not _reads_rates(description) else set()
    for name, value in () if is_wrapper(module) else vars(module).items():
        if name in INTERNALS or name == HELD_IN_EVAL or name in idle or not _counts(module, name, value, description):
            continue
        if isinstance(value, torch.Tensor):
            yield f"weights/{_join(path, name)}", description.text(value)
        else:
            yield f"attributes/{path}/{name}", description.text(value)


def _class(module: Module, description: Description) -> str:
    return describe_wrapper(module, description) if is_wrapper(module) else description.kind(type(module))


def _is_idle_dropout(module: Module) -> bool:
    """Whether nothing but torch's dropout runs, and it does nothing: a hook or a forward put on it may use its rate."""
    own = vars(module)
    return type(module) in DROPOUTS and not module.training and "forward" not in own and not any(own[k] for k in HOOKS)


def _reads_rates(description: Description) -> bool:
    """Whether some code of the user's own may read the rate of a dropout."""
    return description.own is not None and (description.own.names is None or is_read(RATE, description.own.names))


def _counts(module: Module, name: str, value: object, description: Description) -> bool:
    """Whether what a module keeps may have to do with what it computes."""
    return description.own is None or description.own.counts(type(module), name, value)


def _hooks(path: str, module: Module, description: Description) -> Iterator[Component]:
    for kind in HOOKS:
        hooks = list(vars(module)[kind].values())
        if hooks:
            yield f"hooks/{path}/{kind.strip('_')}", description.text(hooks)
            numbers = {key: number for number, key in enumerate(vars(module)[kind])}
            for flag in HOOK_FLAGS:
                if flag.startswith(kind) and (
                    set_for := sorted(numbers[key] for key in vars(module)[flag] if key in numbers)
                ):
                    yield f"hooks/{path}/{flag.strip('_')}", str(set_for)
                    if description.own is not None and flag == KEYWORDS:
                        description.own.keywords_made_up = True


def _children(module: Module) -> Iterator[str]:
    for name, child in module._modules.items():
        yield name if child is not None else f"{name}: none"


def _attribute(module: Module, target: str) -> object:
    value: object = module
    for part in target.split("."):
        value = getattr(value, part)
    return value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _join_slash(kind: str, path: str) -> str:
    return f"{kind}/{path}" if path else kind

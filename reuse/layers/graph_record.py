"""Graphs as plain values, to be written to a file and read again on the same model.

A file must not be able to run code, so what a graph may call is closed: what torch lets tensors do, the layers of the
model, and the few functions named here; and names are such that the code that torch.fx writes of them is what it seems.
A graph that calls anything else has no record.
"""

import operator
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import get_overridable_functions, resolve_name

from reuse.layers.numbering import Number
from reuse.layers.own_forward import MODEL, Call, OwnForward, Slot
from reuse.layers.sequences import WHOLE_CALLS, to_longest
from reuse.layers.suffix import RENAMED

Record = dict[str, Any]

NOT_OPERATORS = {"attrgetter", "call", "itemgetter", "methodcaller", "length_hint"}
OUTPUTS = "transformers"
OPERATIONS = ("aten", "prims")  # namespaces of torch.ops
CLASSES = (torch.dtype, torch.layout, torch.memory_format)
PLAIN = (bool, int, float, str, type(None))
NAME = re.compile(r"[\w.\- ]+")  # of layers and tensors
LARGEST_CONSTANT = 2**16  # elements of a tensor that a record holds


class NoRecord(Exception):  # noqa: N818 - a signal between two functions, not an error of the user's
    """Signal that a graph holds something that has no plain form, or that a record does not fit the model."""


def graph_record(module: fx.GraphModule, model: nn.Module) -> Record:
    """Return a graph on the modules and tensors of a model as plain values.

    Raises:
        NoRecord: it calls or holds something that has no plain form.
    """
    names = {id(value): name for name, value in _parts_of(model).items()}
    targets = {str(n.target) for n in module.graph.nodes if n.op in ("call_module", "get_attr")}
    return {
        "name": type(module).__name__,
        "training": module.training,
        "renamed": module.meta.get(RENAMED, {}),
        "targets": {target: _place(_attribute(module, target), names) for target in sorted(targets)},
        "nodes": [_node(node) for node in module.graph.nodes],
    }


def read_graph(record: Record, model: nn.Module) -> fx.GraphModule:
    """Return the graph of a record on the modules and tensors of a model, which has the names that it was made with.

    Raises:
        NoRecord: it holds what the model or this version of torch has not.
    """
    graph, nodes = fx.Graph(), dict[str, fx.Node]()
    for name, op, target, arguments, keywords in record["nodes"]:
        args, kwargs = _value(arguments, nodes), _value(keywords, nodes)
        called = _function(target, args) if op == "call_function" else _name(op, target)
        nodes[name] = graph.create_node(op, called, args, kwargs, name)
        if nodes[name].name != name:
            raise NoRecord
    parts = _parts_of(model)
    root = {target: _found(place, parts) for target, place in record["targets"].items()}
    module = fx.GraphModule(root, graph, class_name=_name("class", record["name"]))
    module.meta[RENAMED] = {str(target): str(name) for target, name in record["renamed"].items()}
    module.training = record["training"]
    return module


def _node(node: fx.Node) -> list[Any]:
    is_function = node.op == "call_function"
    target = _function_name(node.target, node.args) if is_function else _name(node.op, str(node.target))
    return [node.name, node.op, target, _plain(node.args), _plain(node.kwargs)]


def _parts_of(model: nn.Module) -> dict[str, Any]:
    """Return the modules, parameters, buffers and other tensors of a model by name."""
    parts: dict[str, Any] = {}
    for name, module in model.named_modules():
        parts[name] = module
        tensors = {**vars(module), **module._parameters, **module._buffers}
        parts |= {f"{name}.{key}".lstrip("."): value for key, value in tensors.items() if isinstance(value, Tensor)}
    return parts


def _place(value: Any, names: Mapping[int, str]) -> Any:
    if id(value) in names:
        return names[id(value)]
    if isinstance(value, OwnForward):
        return _forward_record(value)
    if not isinstance(value, Tensor) or value.numel() > LARGEST_CONSTANT or value.requires_grad:
        raise NoRecord
    plain = value.detach().cpu()
    if plain.is_complex() or plain.dtype not in (torch.float32, torch.float64, torch.int64, torch.int32, torch.bool):
        raise NoRecord
    return [str(plain.dtype).removeprefix("torch."), list(plain.shape), str(value.device), plain.flatten().tolist()]


def _found(place: Any, parts: Mapping[str, Any]) -> Any:
    if isinstance(place, str):
        return parts[place]
    if isinstance(place, dict):
        return _read_forward(place, parts)
    kind, shape, device, values = place
    return torch.tensor(values, dtype=_torch_value(kind), device=device).reshape(shape)


def _forward_record(forward: OwnForward) -> Record:
    return {
        "given": _plain(forward.given),
        "calls": [[call.name, _plain(call.given), _plain(call.value)] for call in forward.calls],
        "slots": [[[list(size) for size in slot.sizes], _plain(slot.dtype)] for slot in forward.slots],
        "read": list(forward.read),
    }


def _read_forward(record: Record, parts: Mapping[str, Any]) -> OwnForward:
    calls = [Call(name, _value(given, {}), _value(value, {})) for name, given, value in record["calls"]]
    known = all(isinstance(parts.get(call.name), nn.Module) for call in calls)
    if not known or not set(record["read"]) <= set(range(len(record["slots"]))):
        raise NoRecord
    slots = [
        Slot(tuple((int(n), bool(grows)) for n, grows in sizes), _value(kind, {})) for sizes, kind in record["slots"]
    ]
    return OwnForward(parts[MODEL], _value(record["given"], {}), calls, slots, record["read"])


def _attribute(module: nn.Module, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if type(value) in PLAIN:
        return value
    if isinstance(value, tuple) and type(value) in (tuple, torch.Size):
        return {"tuple": [_plain(part) for part in value]}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {"dict": [[_plain(key), _plain(part)] for key, part in value.items()]}
    if isinstance(value, slice):
        return {"slice": [_plain(value.start), _plain(value.stop), _plain(value.step)]}
    if isinstance(value, CLASSES):
        return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device | Number):
        return {"device": str(value)} if isinstance(value, torch.device) else {"number": value.at}
    if value is ...:
        return {"ellipsis": None}
    raise NoRecord


def _value(plain: Any, nodes: Mapping[str, fx.Node]) -> Any:
    if isinstance(plain, list):
        return [_value(part, nodes) for part in plain]
    if not isinstance(plain, dict):
        return plain
    ((kind, inner),) = plain.items()
    forms: dict[str, Callable[[Any], Any]] = {
        "node": lambda name: nodes[name],
        "tuple": lambda parts: tuple(_value(part, nodes) for part in parts),
        "dict": lambda pairs: {_value(key, nodes): _value(part, nodes) for key, part in pairs},
        "slice": lambda parts: slice(*(_value(part, nodes) for part in parts)),
        "torch": _torch_value,
        "device": torch.device,
        "ellipsis": lambda _: ...,
        "number": Number,
    }
    return forms[kind](inner)


def _torch_value(name: str) -> Any:
    value = getattr(torch, name)
    if not isinstance(value, CLASSES):
        raise NoRecord
    return value


def _name(op: str, name: str) -> str:
    """Return the name of a layer, an input, or a method: none that leads anywhere but to a tensor's own."""
    if op in ("call_module", "get_attr"):
        allowed = NAME.fullmatch(name) is not None
    elif op == "call_method":
        allowed = name.isidentifier() and not name.startswith("_") and hasattr(Tensor, name)
    else:
        allowed = name.isidentifier() and "__" not in name
    if not allowed:
        raise NoRecord
    return name


def _function_name(function: Any, arguments: tuple[Any, ...]) -> str:
    name = f"ops {function}" if isinstance(function, torch._ops.OpOverload) else _known_name(function)
    if name is None or _function(name, arguments) is not function:
        raise NoRecord
    return name


def _function(name: str, arguments: tuple[Any, ...]) -> Any:
    kind, _, path = name.partition(" ")
    if name == "getattr":
        _name("call_method", arguments[1])
    if kind == OUTPUTS:
        return _outputs_of_transformers()[name]
    if kind != "ops":
        return _functions()[name]
    namespace, operation, overload = path.split(".")
    if namespace not in OPERATIONS:
        raise NoRecord
    return getattr(getattr(getattr(torch.ops, namespace), operation), overload)


@cache
def _functions() -> dict[str, Any]:
    """Return what graphs may call, by name."""
    tensors = (f for functions in get_overridable_functions().values() for f in functions)
    named = {f"torch {name}": function for function in tensors if (name := resolve_name(function))}
    named |= {f"operator {name}": getattr(operator, name) for name in set(operator.__all__) - NOT_OPERATORS}
    named |= {"getattr": getattr, "size": torch.Size, "is_grad_enabled": torch.is_grad_enabled}
    named |= {f"sequences {function.__name__}": function for function in (*WHOLE_CALLS, to_longest)}
    return named | {"set_grad_enabled": torch._C._set_grad_enabled} | _functions_of_timm()


@cache
def _names_of_functions() -> dict[int, str]:
    return {id(function): name for name, function in _functions().items()}


def _known_name(function: Any) -> str | None:
    names = {id(made): name for name, made in _outputs_of_transformers().items()}
    return _names_of_functions().get(id(function)) or names.get(id(function))


def _outputs_of_transformers() -> dict[str, Any]:
    """Return the dataclasses in which models of transformers return tensors."""
    outputs = sys.modules.get("transformers.modeling_outputs")
    classes = {} if outputs is None else vars(outputs)
    return {
        f"{OUTPUTS} {name}": kind for name, kind in classes.items() if isinstance(kind, type) and is_dataclass(kind)
    }


def _functions_of_timm() -> dict[str, Any]:
    """Return the functions that timm wants to stay one call."""
    layers = sys.modules.get("timm.layers")
    kept = layers.get_notrace_functions() if layers is not None else ()
    return {f"timm {function.__module__}.{function.__qualname__}": function for function in kept}

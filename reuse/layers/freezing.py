"""Freezing: the one definition of a frozen layer.

A frozen parameter gets no gradient and is absent from the optimizer, so no weight decay and no momentum moves it.
A module is held in evaluation mode, whatever `model.train()` says later, when it has
parameters and all of them are frozen. A module without parameters (dropout, drop-path) is held too when every path from
it to the output meets a frozen layer first; otherwise it stays live.

`requires_grad=False` alone would leave batch-norm statistics moving and dropout firing (pytorch #66073,
Lightning #13902).
"""

from dataclasses import dataclass

from torch import fx, nn
from torch.nn.parameter import is_lazy

from reuse.errors import UsageError
from reuse.layers.selecting import Patterns, select, summarize
from reuse.layers.tracing import trace_or_none
from reuse.layers.trainability import is_frozen, is_trainable, module_called, parameter_read


class HeldInEval:
    """Replacement for `train` of one module, which leaves it in evaluation mode. Survives copying and pickling."""

    def __init__(self, module: nn.Module):
        self.module = module

    def __call__(self, mode: bool = True) -> nn.Module:  # noqa: ARG002 - the signature of Module.train
        """Return the module as it is."""
        return self.module


@dataclass(frozen=True)
class Freezing:
    """Frozen parameters and layers of a model, after `freeze` or `unfreeze`.

    Attributes:
        parameters: names of all frozen parameters, tied ones under each name.
        layers: the same in short, as `Selection.layers`.
        held: names of the modules held in evaluation mode.
    """

    parameters: tuple[str, ...]
    layers: tuple[str, ...]
    held: tuple[str, ...]


def freeze(model: nn.Module, patterns: Patterns) -> Freezing:
    """Freeze the layers or parameters of `model` that `patterns` select (see `reuse.layers.selecting`), in place.

    A parameter that is tied to a frozen one under another name is frozen with it.

    Returns:
        Everything that is frozen in the model now, this call and earlier ones together.

    Raises:
        UsageError: a pattern that matches nothing, or after which nothing would be left to train.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        >>> freeze(model, "0,1").layers
        ('0', '1')
        >>> model.train()[1].training
        False
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    chosen = {id(parameters[name]) for name in select(model, patterns).parameters}
    if all(id(p) in chosen or not p.requires_grad for p in parameters.values()):
        raise UsageError(
            "everything would be frozen, so nothing would train: leave the output layer out, for example with '!NAME'"
        )
    for name, parameter in parameters.items():
        if id(parameter) in chosen and is_lazy(parameter):
            raise UsageError(
                f"{name!r} has no size yet, since its layer is lazy: call the model on a batch, then freeze"
            )
    for parameter in parameters.values():
        if id(parameter) in chosen:
            parameter.requires_grad_(False)
    return hold(model)


def unfreeze(model: nn.Module, patterns: Patterns = "*") -> Freezing:
    """Let the selected layers of `model` train again, in place; by default all of them.

    Returns:
        What is still frozen.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in select(model, patterns).parameters:
        parameters[name].requires_grad_(True)
    return hold(model)


def frozen(model: nn.Module) -> Freezing:
    """Return what is frozen in `model` without changing anything."""
    names = {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    held = tuple(name for name, module in model.named_modules() if _is_held(module))
    ordered = tuple(name for name, _ in model.named_parameters(remove_duplicate=False) if name in names)
    return Freezing(ordered, tuple(summarize(model, names)), held)


def hold(model: nn.Module) -> Freezing:
    """Hold exactly those modules of `model` in evaluation mode that its `requires_grad` flags ask for.

    `freeze` and `unfreeze` end with it; call it after setting `requires_grad` by hand.
    """
    chosen = {id(below) for module in _modules_to_hold(model) for below in module.modules()}
    for module in model.modules():
        if id(module) in chosen and not _is_held(module):
            module.eval()
            module.__dict__["train"] = HeldInEval(module)
        elif id(module) not in chosen and _is_held(module):
            del module.__dict__["train"]
            module.training = model.training
    return frozen(model)


def _is_held(module: nn.Module) -> bool:
    return isinstance(module.__dict__.get("train"), HeldInEval)


def _modules_to_hold(model: nn.Module) -> list[nn.Module]:
    whole = [module for module in model.modules() if is_frozen(module)]
    return whole + _shielded(model) if whole else []


def _shielded(model: nn.Module) -> list[nn.Module]:
    """Return the modules without parameters whose every path to the output meets a frozen layer first.

    Where the model cannot be traced none is known to be, and all stay live.
    """
    graph = trace_or_none(model)
    if graph is None:
        return []
    live: set[int] = set()
    seen: dict[int, nn.Module] = {}
    known: dict[fx.Node, bool] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            module = module_called(node, model)
            if next(module.parameters(), None) is None:
                seen[id(module)] = module
                if not _meets_frozen_layer(node, model, known):
                    live.add(id(module))
    return [module for key, module in seen.items() if key not in live]


def _meets_frozen_layer(node: fx.Node, model: nn.Module, known: dict[fx.Node, bool]) -> bool:
    """Return whether every path from `node` onwards meets a frozen layer before the output or a layer that trains."""
    if node not in known:
        known[node] = bool(node.users) and all(_user_is_frozen(user, model, known) for user in node.users)
    return known[node]


def _user_is_frozen(user: fx.Node, model: nn.Module, known: dict[fx.Node, bool]) -> bool:
    if user.op == "output":
        return False
    if user.op == "call_module":
        module = module_called(user, model)
        if is_frozen(module):
            return True
        if is_trainable(module):
            return False
    read = [parameter_read(node, model) for node in user.all_input_nodes]
    flags = [parameter.requires_grad for parameter in read if parameter is not None]
    if flags:
        return not any(flags)
    return _meets_frozen_layer(user, model, known)

"""The layers of a model among which a ranking chooses, where nobody names any."""

from collections.abc import Mapping, Sequence

from torch import nn

from reuse.errors import UnknownNameError, UsageError
from reuse.features.layer_outputs import HEAD_INPUT
from reuse.nn.outputs import output_layers
from reuse.nn.tapped import find_layers

MOST = 4
"""Stages below what the output layer takes."""

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def stages_of(model: nn.Module) -> list[str]:
    """Return the names of up to four stages of a model, evenly apart, the last of them last.

    They are the modules at the top that have weights, without norms and the output layer; as long as these are fewer
    than four, the largest container of modules among them stands for what it contains.

    Args:
        model: any module.
    """
    outputs = output_layers(model)
    chain = _weighted("", model, outputs)
    while len(chain) < MOST:
        parts = {name: _weighted(name, module, outputs) for name, module in chain.items() if _contains(module)}
        parts = {name: inside for name, inside in parts.items() if len(inside) > 1}
        if not parts:
            break
        chain = _opened(chain, parts, max(parts, key=lambda name: _size(chain[name])))
    names = list(chain)
    count = min(MOST, len(names))
    return [names[-(-(place + 1) * len(names) // count) - 1] for place in range(count)]


def named_layers(models: Sequence[nn.Module], patterns: str | Sequence[str]) -> list[list[str]]:
    """Return the layers of each model that some patterns mean; none of some model, where they are those of others.

    Args:
        models: any modules.
        patterns: of names, separated by commas or a list; `features` is what the output layer takes.

    Raises:
        UnknownNameError: a pattern means no layer of any model.
        UsageError: there are no patterns.
    """
    listed = [part.strip() for part in patterns.split(",")] if isinstance(patterns, str) else list(patterns)
    if not listed:
        raise UsageError("layers is empty: name layers, or leave it out")
    found: list[list[str]] = [[] for _ in models]
    for pattern in listed:
        errors = []
        for model, own in zip(models, found, strict=True):
            try:
                own += [HEAD_INPUT] if pattern == HEAD_INPUT else find_layers(model, pattern)
            except UnknownNameError as error:
                errors.append(error)
        if len(errors) == len(models):
            raise errors[0]
    orders = [[*(name for name, _ in model.named_modules()), HEAD_INPUT] for model in models]
    return [sorted(set(own), key=order.index) for own, order in zip(found, orders, strict=True)]


def _opened(
    chain: Mapping[str, nn.Module], parts: Mapping[str, Mapping[str, nn.Module]], chosen: str
) -> dict[str, nn.Module]:
    """Return a chain in which a container is what it contains."""
    inside = [parts[name] if name == chosen else {name: module} for name, module in chain.items()]
    return {name: module for some in inside for name, module in some.items()}


def _weighted(prefix: str, module: nn.Module, outputs: Sequence[str]) -> dict[str, nn.Module]:
    """Return modules below one that have weights, by their whole names; a container of an output layer is opened."""
    found = dict[str, nn.Module]()
    for name, child in module.named_children():
        whole = f"{prefix}.{name}" if prefix else name
        if any(output.startswith(f"{whole}.") for output in outputs):
            found |= _weighted(whole, child, outputs) if _contains(child) else {}
        elif whole not in outputs and _size(child) and not isinstance(child, NORMS):
            found[whole] = child
    return found


def _contains(module: nn.Module) -> bool:
    return type(module) in (nn.Sequential, nn.ModuleList)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

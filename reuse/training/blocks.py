"""Blocks of a network from its inputs to its output layer: what freezes together where layers freeze by themselves."""

from collections.abc import Collection
from itertools import groupby, takewhile

from torch import nn

from reuse.layers.selecting import summarize
from reuse.nn.outputs import output_layers
from reuse.optim.groups import timm_depths

FEWEST = 2
"""Blocks that a network is parted into, if it can be: of a single one nobody can say that it changes less."""

Unit = tuple[str, list[str]]
"""Name of the module that was found first, and the parameters that go together."""


def blocks(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the parameters of each block below the output layer, in order of registration.

    The blocks of a timm model are the groups of its own `group_matcher`. Those of any other model are its children with
    parameters, opened where they hold lists of blocks; one without matrices, such as a norm, goes with the one before
    it, and what the model holds itself with the first. They end where a parameter of the output layer comes, be it a
    tied one.

    Args:
        model: whose layers are in the order of its computation.

    Returns:
        Names of parameters by the name of the block: its layers, such as `layer1.0` or `conv1, bn1`.

    Raises:
        UsageError: there is no layer that can be the output.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))
        >>> list(blocks(model))
        ['0, 1', '3']
    """
    found = _timm_units(model) if hasattr(model, "group_matcher") else _opened_units(model)
    return {", ".join(summarize(model, set(names))): tuple(names) for _, names in _below_output(model, found)}


def _timm_units(model: nn.Module) -> list[Unit]:
    depths = timm_depths(model)
    ordered = sorted(depths, key=depths.__getitem__)  # which keeps the order within a group
    return [("", list(names)) for _, names in groupby(ordered, key=depths.__getitem__)]


def _opened_units(model: nn.Module) -> list[Unit]:
    """Part a model into its children, and open the first one as long as that makes too few blocks below the output."""
    opened = {""}
    while True:
        known = {name for name, _ in model.named_parameters()}
        units = [(home, [name for name in names if name in known]) for home, names in _units(model, "", opened)]
        units = [unit for unit in units if unit[1]]
        first = units[0][0] if units else ""
        if len(_below_output(model, units)) >= FEWEST or not first or not _parts(model.get_submodule(first)):
            return units
        opened.add(first)


def _units(module: nn.Module, home: str, opened: Collection[str]) -> list[Unit]:
    prefix = f"{home}." if home else ""
    own = [prefix + name for name, _ in module.named_parameters(recurse=False)]
    units: list[Unit] = []
    for name, child in _parts(module):
        inner = prefix + name
        is_open = inner in opened or any(_is_list_of_blocks(below) for below in child.modules())
        found = _units(child, inner, opened) if is_open else [(inner, _names(child, f"{inner}."))]
        for place, names in found:
            if units and not _has_matrix(module, prefix, names):
                units[-1][1].extend(names)
            else:
                units.append((place, names))
    return [(units[0][0], own + units[0][1]), *units[1:]] if units else [(home, own)]


def _below_output(model: nn.Module, units: list[Unit]) -> list[Unit]:
    outputs = {id(p) for name in output_layers(model) for p in model.get_submodule(name).parameters()}
    parameters = dict(model.named_parameters())
    return list(takewhile(lambda unit: not any(id(parameters[name]) in outputs for name in unit[1]), units))


def _is_list_of_blocks(module: nn.Module) -> bool:
    """Say whether a module only holds others, of which several have parts themselves."""
    if not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return False
    return sum(bool(_parts(child)) for _, child in _parts(module)) > 1


def _parts(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in module.named_children() if next(child.parameters(), None) is not None]


def _names(module: nn.Module, prefix: str) -> list[str]:
    return [prefix + name for name, _ in module.named_parameters()]


def _has_matrix(module: nn.Module, prefix: str, names: Collection[str]) -> bool:
    return any(module.get_parameter(name.removeprefix(prefix)).ndim > 1 for name in names)

"""The sources of a ranking, named: none of them is opened yet."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from reuse.errors import UsageError
from reuse.settings.ranking import RankArguments
from reuse.setup.sources import Source, find_source


@dataclass(frozen=True)
class RankedSource:
    """A source by the name that it has in the table.

    Attributes:
        name: as it was given, or a module's class.
        found: the source; None for a module.
        module: that was given in place of a source.
        spec: of its model; None for a module.
    """

    name: str
    found: Source | None
    module: nn.Module | None
    spec: str | None


def name_sources(arguments: RankArguments) -> list[RankedSource]:
    """Return the sources that are to be ranked, none of them opened.

    Raises:
        UsageError, RunError: there are none, one stands there twice, or one does not exist.
    """
    given = arguments.sources
    listed = list(given) if isinstance(given, list | tuple) else [given]
    if not listed:
        raise UsageError("there is nothing to rank: name run folders, files of weights or models such as timm:resnet18")
    named = [_named(one, arguments) for one in listed]
    modules = [one for one in named if one.module is not None]
    numbered = {id(one): f"{one.name} {number}" for number, one in enumerate(modules, 1)} if len(modules) > 1 else {}
    named = [replace(one, name=numbered.get(id(one), one.name)) for one in named]
    names = [one.name for one in named]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is to be ranked twice: name it once, with several layers by layers")
    return named


def _named(given: Any, arguments: RankArguments) -> RankedSource:
    if isinstance(given, nn.Module):
        return RankedSource(type(given).__name__, None, given, None)
    if not isinstance(given, str | Path):
        kind = type(given).__name__
        raise UsageError(f"a {kind} cannot be ranked: give run folders, files of weights, model specs or modules")
    source = find_source(given)
    spec = source.spec or arguments.model
    if spec is None:
        raise UsageError(f"{source.name} holds weights and does not say of which model: give --model")
    return RankedSource(source.name, source, None, spec)

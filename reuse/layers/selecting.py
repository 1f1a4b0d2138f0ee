"""Selecting layers and parameters of a model by patterns, and numbers by layer.

Patterns are separated by commas or given one by one, and are read in order:

===============  ==========================================================================
``hidden1``      the layer (with everything below it) or parameter of that name
``layer?.*.bn1`` a glob; ``*`` crosses dots
``re:hid.*[12]`` a regular expression that the whole name matches; takes the whole argument, commas included
``:layer2``      everything up to and including that layer, in order of registration
``!fc``          but not this one; as the first pattern: everything but this one
===============  ==========================================================================

`head`, `output`, `fc` and `classifier` mean the output layer of a model that has no layer of that name.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from reuse.errors import UnknownNameError, UsageError
from reuse.layers.heads import with_heads
from reuse.menus import nearest, suggest

Patterns = str | Sequence[str]
Amount = float | str | None
"""One number for all layers, or a number by layer: `0.01`, `hidden1=0.01,conv*=0.1`."""


@dataclass(frozen=True)
class Selection:
    """Parameters and layers of a model that patterns select.

    Attributes:
        parameters: qualified names in order of registration; a tied parameter appears under each of its names.
        layers: the same, said shortly: the uppermost modules that are selected as a whole, and parameters besides.
    """

    parameters: tuple[str, ...]
    layers: tuple[str, ...]


def split_patterns(patterns: Patterns) -> list[str]:
    """Return single patterns from a comma-separated string or a sequence of such strings."""
    single: list[str] = []
    for text in [patterns] if isinstance(patterns, str) else patterns:
        if text.lstrip("!").startswith("re:"):
            single.append(text)
        else:
            single += [part.strip() for part in text.split(",") if part.strip()]
    return single


def match_names(names: Iterable[str], patterns: Patterns) -> list[str]:
    """Return those of `names` that the patterns select, in their own order.

    A pattern that selects a layer selects every name below it too.

    Args:
        names: names of layers or tensors in order of registration; a layer's own name need not be among them.
        patterns: see the head of this file.

    Raises:
        UnknownNameError: a pattern matches nothing; the message names the nearest.
        UsageError: a regular expression that cannot be compiled.
    """
    ordered = list(names)
    singles = split_patterns(patterns)
    chosen = _choose(ordered, singles, _match_each(ordered, singles))
    return [name for name in ordered if name in chosen]


def select(model: nn.Module, patterns: Patterns) -> Selection:
    """Return what `patterns` select in `model`.

    Raises:
        UnknownNameError: a pattern matches no layer and no parameter.
        UsageError: a pattern, or all together, select no parameter at all.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> select(model, "!1").parameters
        ('0.weight', '0.bias')
    """
    order = names_in_order(model)
    parameters = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    singles = with_heads(split_patterns(patterns), model, order)
    matches = _match_each(order, singles)
    for pattern, matched in zip(singles, matches, strict=True):
        if matched.isdisjoint(parameters):
            raise UsageError(f"pattern {pattern!r} matches only layers without parameters, so it selects nothing")
    chosen = _choose(order, singles, matches).intersection(parameters)
    if not chosen:
        raise UsageError(f"the patterns {', '.join(singles)!r} together select no parameter")
    return Selection(tuple(n for n in parameters if n in chosen), tuple(summarize(model, chosen)))


def read_amounts(amount: Amount, model: nn.Module, setting: str) -> dict[str, float]:
    """Return what a setting means for each parameter that trains, by name; empty where it is not given.

    Args:
        amount: one number for all, or patterns of layers (see the head of this file) with a number each; where
            several match a parameter, the last one counts.
        model: whose layers these are.
        setting: its name, for messages.

    Raises:
        UsageError: not a number or a list of patterns with numbers; a pattern matches nothing.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if amount is None:
        return {}
    try:
        return dict.fromkeys(names, float(amount))
    except ValueError:
        pass
    amounts: dict[str, float] = {}
    for entry in str(amount).split(","):
        pattern, value = _split_amount(entry, setting)
        matched = set(select(model, pattern).parameters)
        amounts.update({name: value for name in names if name in matched})
    return amounts


def names_in_order(model: nn.Module) -> list[str]:
    """Return the names of all layers and parameters in order of registration, each layer before its parameters."""
    names: list[str] = []
    for prefix, module in model.named_modules(remove_duplicate=False):
        if prefix:
            names.append(prefix)
        names += [
            f"{prefix}.{name}" if prefix else name
            for name, _ in module.named_parameters(recurse=False, remove_duplicate=False)
        ]
    return names


def summarize(model: nn.Module, parameters: set[str]) -> list[str]:
    """Return the uppermost layers (never the model) all of whose parameters are given, and the other parameters."""
    tensors = dict(model.named_parameters(remove_duplicate=False))
    chosen = {id(tensors[name]) for name in parameters}

    def walk(module: nn.Module, prefix: str) -> list[str]:
        found = [
            prefix + n for n, p in module.named_parameters(recurse=False, remove_duplicate=False) if id(p) in chosen
        ]
        for name, child in module.named_children():
            own = [id(p) for p in child.parameters()]
            if own and chosen.issuperset(own):
                found.append(prefix + name)
            elif own:
                found += walk(child, f"{prefix}{name}.")
        return found

    return walk(model, "")


def _split_amount(entry: str, setting: str) -> tuple[str, float]:
    pattern, equals, number = (part.strip() for part in entry.rpartition("="))
    try:
        if pattern and equals:
            return pattern, float(number)
    except ValueError:
        pass
    raise UsageError(
        f"{setting} holds {entry!r}: give one number, or layers with numbers, as in hidden1=0.01,conv*=0.1"
    )


def _match_each(order: list[str], singles: list[str]) -> list[set[str]]:
    """Return for each pattern (its `!` left aside) every name that it matches, with all names below those."""
    below: dict[str, list[str]] = {}
    for name in order:
        for parent in _parents(name):
            below.setdefault(parent, []).append(name)
    return [_match(order, below, pattern.removeprefix("!")) for pattern in singles]


def _choose(order: list[str], singles: list[str], matches: list[set[str]]) -> set[str]:
    """Return what is left when the patterns have been read in order, each adding or, with `!`, taking away."""
    chosen = set(order) if singles and singles[0].startswith("!") else set()
    for pattern, matched in zip(singles, matches, strict=True):
        if pattern.startswith("!"):
            chosen -= matched
        else:
            chosen |= matched
    return chosen


def _match(order: list[str], below: dict[str, list[str]], pattern: str) -> set[str]:
    if pattern.startswith(":"):
        return _up_to(order, below, pattern)
    if pattern.startswith("re:"):
        try:
            expression = re.compile(pattern.removeprefix("re:"))
        except re.error as error:
            raise UsageError(f"pattern {pattern!r} is no regular expression: {error}") from error
        matched = [name for name in below if expression.fullmatch(name)]
    elif any(character in pattern for character in "*?["):
        matched = [name for name in below if fnmatchcase(name, pattern)]
    else:
        matched = [pattern] if pattern in below else []
    if not matched:
        uppermost = ", ".join(name for name in below if "." not in name)
        near = suggest(pattern, below) if nearest(pattern, below) else f"the uppermost are {uppermost}"
        raise UnknownNameError(f"pattern {pattern!r} matches no layer: {near}")
    return {name for layer in matched for name in below[layer]}


def _up_to(order: list[str], below: dict[str, list[str]], pattern: str) -> set[str]:
    last = pattern.removeprefix(":")
    if last not in below:
        raise UnknownNameError(f"pattern {pattern!r} matches no layer: {suggest(last, below)}")
    ends = set(below[last])
    position = max(i for i, name in enumerate(order) if name in ends)
    return set(order[: position + 1])


def _parents(name: str) -> list[str]:
    """Return `name` and the names of the layers around it, e.g. a.b.c, a.b, a."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]

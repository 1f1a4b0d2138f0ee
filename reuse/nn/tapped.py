"""A network that is frozen as a whole, giving what chosen layers of it compute, each pooled to a small grid."""

import copy
import math
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reuse.errors import UnknownNameError, UsageError
from reuse.menus import suggest
from reuse.nn.main_output import main_output
from reuse.nn.outputs import output_layers

VECTOR, STEPS, MAP = 2, 3, 4
"""Dimensions of a batch of vectors, of sequences of steps or tokens, and of maps."""

FEATURES = "features"
"""Name of what the output layer took, among names of layers."""


class Tapped(nn.Module):
    """A network without its output layer, which gives beside its features what some of its layers compute.

    Maps come as `(rows, channels, height, width)` with at most `grid` places in each direction, steps and tokens as
    `(rows, steps, channels)` with at most `grid` · `grid` of them, class tokens apart; each place is the mean of those
    that it stands for. So what crosses to a network beside this one stays small, however large the maps are.

    Args:
        network: takes one tensor, rows first; its output layer is taken away.
        layers: names of its layers, or patterns of them (see `find_layers`); none: its main ones.
        grid: places in each direction; 1 takes the mean over all.

    Attributes:
        names: of the layers, lowest first.
        repeats: places of the layers that give the very features; they are known once it was measured.

    Takes a batch of inputs, and returns a tuple: what each layer gives, and last the features that the output layer
    took, `(rows, features)`.
    """

    def __init__(self, network: nn.Module, layers: str | Sequence[str] = (), grid: int = 4) -> None:
        super().__init__()
        if grid < 1:
            raise UsageError(f"grid is {grid}: give how many places of a side are kept of each map, 1 or more")
        self.names = _from_below(network, find_layers(network, layers) if layers else main_layers(network))
        for name in output_layers(network):
            network.set_submodule(name, nn.Identity())
        self.network, self.grid, self.repeats = network, grid, frozenset[int]()
        self._channels_last = getattr(network, "output_fmt", None) == "NHWC"  # what timm says of its maps
        self._apart = int(getattr(network, "num_prefix_tokens", 0) or 0)  # class tokens and the like

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what each layer gives, the last time where it is called several times, and the features."""
        found: dict[str, Tensor] = {}

        def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
            # At once and by itself: a layer above may change it in place.
            return lambda _, __, given: found.update({name: self._pooled(main_output(given)).clone()})

        hooks = [self.network.get_submodule(name).register_forward_hook(note(name)) for name in self.names]
        try:
            features = main_output(self.network(inputs)).flatten(1)
        finally:
            for hook in hooks:
                hook.remove()
        return *[found[name] for name in self.names], features

    def only(self, names: Sequence[str]) -> "Tapped":
        """Return the same network, of which fewer layers are tapped."""
        fewer = copy.copy(self)
        fewer.names, fewer.repeats = tuple(names), frozenset()
        return fewer

    @torch.no_grad()
    def measure(self, example: Tensor) -> list[tuple[int, ...]]:
        """Return the shape of what each layer gives for a row, that of the features last.

        Args:
            example: two rows or more, drawn at random.

        Raises:
            UsageError: a layer is not called, or gives nothing that could be pooled.
        """
        try:
            found = self.eval()(example)
        except KeyError as error:
            raise UsageError(f"layer {error.args[0]!r} is not called when the model runs: choose another") from error
        for name, value in zip(self.names, found, strict=False):
            if len(value) != len(example):
                raise UsageError(f"layer {name!r} gives no entry a row: choose another")
        *layers, features = found
        same = [torch.equal(value.flatten(1), features) for value in layers]
        self.repeats = frozenset(place for place, is_same in enumerate(same) if is_same)
        return [tuple(value.shape[1:]) for value in found]

    def _pooled(self, values: Tensor) -> Tensor:
        if values.ndim == MAP:
            values = values.movedim(-1, 1) if self._channels_last else values
            height, width = (min(self.grid, size) for size in values.shape[2:])
            return functional.adaptive_avg_pool2d(values, (height, width))
        if values.ndim == STEPS:
            return _fewer_steps(values, self._apart, self.grid)
        if values.ndim == VECTOR:
            return values
        raise UsageError(
            f"a layer gives a tensor of shape {tuple(values.shape)}: choose layers that give vectors, steps or maps"
        )


class Pick(nn.Module):
    """One of several tensors, by its place: a step of its own, under the name of a layer, in a plan and a cache."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def forward(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Return the tensor."""
        return tensors[self.place]


def picks(tapped: Tapped) -> nn.ModuleDict:
    """Return what picks each of the tensors that a network gives, by layer, and the features last."""
    found = nn.ModuleDict()
    for place, name in enumerate((*tapped.names, FEATURES)):
        key = name.replace(".", "_")
        while hasattr(found, key) or key in found:  # `features` may be a layer too
            key += "_"
        found[key] = Pick(place)
    return found


def _fewer_steps(values: Tensor, apart: int, grid: int) -> Tensor:
    """Return the mean over steps that lie near each other, in the plane where patches fill a square of it."""
    first, others = values[:, :apart], values[:, apart:].transpose(1, 2)
    side = math.isqrt(others.shape[2])
    if others.shape[2] <= grid * grid:
        return values
    if side * side == others.shape[2]:
        pooled = functional.adaptive_avg_pool2d(others.reshape(*others.shape[:2], side, side), grid).flatten(2)
    else:
        pooled = functional.adaptive_avg_pool1d(others, grid * grid)
    return torch.cat([first, pooled.transpose(1, 2)], dim=1)


def main_layers(network: nn.Module) -> tuple[str, ...]:
    """Return the names of a network's main layers, lowest first.

    These are the stages or blocks that timm lists, else its uppermost layers with parameters, the output layer apart.

    Raises:
        UsageError: there are none.
    """
    listed = [str(stage["module"]) for stage in getattr(network, "feature_info", None) or () if stage.get("module")]
    known, outputs = dict(network.named_modules()), output_layers(network)
    own = [name for name, layer in network.named_children() if any(True for _ in layer.parameters())]
    found = [name for name in listed if name in known] or [name for name in own if name not in outputs]
    if not found:
        raise UsageError(f"{type(network).__name__} has no layers below its output layer: there is nothing to reuse")
    return tuple(found)


def find_layers(model: nn.Module, layers: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of layers that some names and patterns mean, in the order of the patterns.

    Args:
        model: any module.
        layers: names, globs such as `layer?`, or `re:` and a regular expression.

    Raises:
        UnknownNameError: one matches nothing; the message lists the nearest names.
    """
    known = [name for name, _ in model.named_modules() if name]
    patterns = [part.strip() for part in layers.split(",")] if isinstance(layers, str) else _single(layers)
    return tuple(dict.fromkeys(name for pattern in patterns for name in _matching(known, pattern)))


def _from_below(network: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """Return names of layers in order of registration."""
    return tuple(name for name, _ in network.named_modules() if name in names)


def _single(patterns: Sequence[str]) -> list[str]:
    """Return single patterns; a regular expression takes the whole of its entry, commas too."""
    parts = [[text] if text.startswith("re:") else text.split(",") for text in patterns]
    return [part.strip() for some in parts for part in some]


def _matching(known: list[str], pattern: str) -> list[str]:
    if pattern in known:
        return [pattern]
    if pattern.startswith("re:"):
        found = [name for name in known if re.fullmatch(pattern.removeprefix("re:"), name)]
    else:
        found = [name for name in known if fnmatchcase(name, pattern)]
    if not found:
        raise UnknownNameError(f"pattern {pattern!r} matches no layer: {suggest(pattern, known)}")
    return found

"""Bounds on weights, put in force after each step."""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _WeightNorm

from reuse.errors import UsageError
from reuse.menus import suggest

Constraint = Callable[[nn.Module], None]
"""Changes the weights of a model in place."""


MATRICES = (nn.RNNBase, nn.MultiheadAttention)
"""Layers with several matrices of their own, the rows of each being incoming weights."""

KINDS = (nn.Linear, _ConvNd, *MATRICES)


@dataclass(frozen=True)
class Bounded:
    """A tensor whose slices along `dim` are the incoming weights of one unit each, in each of `groups` blocks."""

    weight: Tensor
    dim: int = 0
    groups: int = 1


def max_norm(limit: float, names: Collection[str] | None = None) -> Constraint:
    """Return a constraint that scales the incoming weights of each unit to a norm of at most `limit`.

    These are the rows of a linear layer, the filters of a convolution, the rows of each matrix of a recurrent layer and
    of attention's projections (Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html). Biases are
    not counted and frozen weights never move. A layer under weight norm is bounded by its lengths.

    Args:
        limit: above 0.
        names: of the layers to bound; a layer's name stands for all below it. None bounds all that it can.

    Returns:
        The constraint. Called, it raises a UsageError where a name is unknown or a layer's weights are computed from
        others that it cannot bound, such as those under spectral norm.

    Raises:
        UsageError: the limit is not above 0.

    Example:
        >>> layer = nn.Linear(9, 4)
        >>> max_norm(0.5)(layer)
        >>> bool((layer.weight.norm(dim=1) <= 0.5).all())
        True
    """
    if not (math.isfinite(limit) and limit > 0):
        raise UsageError(f"max norm is {limit}: give a finite number above 0")

    @torch.no_grad()
    def constrain(model: nn.Module) -> None:
        for bounded in bounded_weights(model, names):
            for block in bounded.weight.detach().chunk(bounded.groups):
                block.renorm_(2, bounded.dim, limit)

    return constrain


def bounded_weights(model: nn.Module, names: Collection[str] | None = None) -> list[Bounded]:
    """Return the weights that `max_norm` bounds; call it before training to have wrong names refused at once.

    Raises:
        UsageError: a name is unknown, names no layer that can be bounded, or a layer's weights cannot be bounded.
    """
    layers: dict[str, nn.Module] = {name: module for name, module in model.named_modules() if isinstance(module, KINDS)}
    if names is None:
        if not layers:
            raise UsageError("max norm has nothing to bound: the model has no layer of a kind that can be bounded")
        chosen = layers
    else:
        chosen = {known: layers[known] for name in names for known in _below(name, layers, model)}
    return [bounded for name, layer in chosen.items() for bounded in _weights_of(name, layer)]


def _below(name: str, layers: dict[str, nn.Module], model: nn.Module) -> list[str]:
    found = [known for known in layers if known == name or known.startswith(f"{name}.")]
    if not found:
        known = dict(model.named_modules())
        why = "there is none below it" if name in known else suggest(name, layers)
        raise UsageError(f"max norm is given the layer {name!r}, which names none that can be bounded: {why}")
    return found


def _weights_of(name: str, layer: nn.Module) -> Iterator[Bounded]:
    if isinstance(layer, MATRICES):
        if parametrize.is_parametrized(layer):
            raise _refusal(name, "is computed from others")
        own = layer.named_parameters(recurse=False)
        yield from (Bounded(weight) for _, weight in own if weight.ndim == 2 and weight.requires_grad)
    elif "weight" in dict(layer.named_buffers(recurse=False)):
        return  # a teacher's: it follows others, and is not trained
    elif parametrize.is_parametrized(layer, "weight"):
        yield from _lengths(name, layer)
    else:
        weight = layer.weight
        if not isinstance(weight, nn.Parameter):  # torch's older norms keep a tensor there that each forward replaces
            raise _refusal(name, "is computed from others")
        if weight.requires_grad:
            yield Bounded(weight, 1, layer.groups) if isinstance(layer, _ConvTransposeNd) else Bounded(weight)


def _lengths(name: str, layer: nn.Module) -> Iterator[Bounded]:
    """Return the lengths of a layer under weight norm: `weight = length * direction / ||direction||`, unit by unit."""
    assert isinstance(layer.parametrizations, nn.ModuleDict)
    steps = layer.parametrizations["weight"]
    assert isinstance(steps, parametrize.ParametrizationList)
    if not any(parameter.requires_grad for parameter in steps.parameters()):
        return
    by_unit = len(steps) == 1 and isinstance(steps[0], _WeightNorm) and steps[0].dim == 0
    if not by_unit or isinstance(layer, _ConvTransposeNd):
        raise _refusal(name, f"is computed by {type(steps[0]).__name__.strip('_')}")
    lengths = steps.original0
    assert isinstance(lengths, Tensor)
    if lengths.requires_grad:
        yield Bounded(lengths)


def _refusal(name: str, why: str) -> UsageError:
    return UsageError(f"max norm cannot bound {name}: its weight {why}; name the layers to bound, or drop its norm")

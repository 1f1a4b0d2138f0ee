"""Normalisation layers by name: one menu for vectors `(batch, features)`, one for maps `(batch, channels, h, w)`."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.menus import lookup, suggest

NO_ARGUMENTS: Mapping[str, float] = MappingProxyType({})

# Norms that take the mean away and have a bias of their own: a bias in front of them would do nothing.
SHIFTING = frozenset({"batch", "layer", "group", "instance"})

# What may be written behind each name, as in `batch:eps=0.001,momentum=0.01` (Keras's batch norm: momentum in torch's
# sense is the share of the new statistics, 1 - 0.99).
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "batch": ("eps", "momentum"),
    "layer": ("eps",),
    "group": ("groups", "eps"),
    "instance": ("eps",),
    "rms": ("eps",),
    "local_response": ("size", "alpha", "beta", "k"),
}

MAY_BE_ZERO = ("momentum", "alpha", "beta", "k")
HIGHEST = {"momentum": 1.0, "size": 1024.0}  # torch pads the features by the size of the neighbourhood, however few


class RMSNormOfMaps(nn.RMSNorm):
    """Root-mean-square norm over the channels of each position of a map (Zhang and Sennrich 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map, `(batch, channels, height, width)`, contiguous.

        A convolution rounds otherwise in another order in memory, and maps come contiguous from a cache.
        """
        return super().forward(x.movedim(1, -1)).movedim(-1, 1).contiguous()


class LocalResponseNormOfVectors(nn.LocalResponseNorm):
    """Local response norm over neighbouring features, as that of maps is over neighbouring channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised vectors, `(batch, features)`."""
        return super().forward(x.unsqueeze(-1)).squeeze(-1)


def num_groups(width: int) -> int:
    """Return into how many groups `width` features go: at most 32, all equal, of at least 4 features.

    Wu and He 2018 take 32 groups on wide layers; a group of one feature would normalise it to zero.
    """
    return max(count for count in range(1, max(2, min(32, width // 4) + 1)) if width % count == 0)


def _group(width: int, groups: float | None = None, eps: float = 1e-5) -> nn.GroupNorm:
    return nn.GroupNorm(num_groups(width) if groups is None else _whole("groups", groups), width, eps)


def _layer_of_maps(width: int, eps: float = 1e-5) -> nn.GroupNorm:
    return nn.GroupNorm(1, width, eps)  # over channels and positions, whatever the size of the map


def _instance(width: int, eps: float = 1e-5) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(width, eps, affine=True)


def _local_response(_: int, size: float = 5, **arguments: float) -> nn.LocalResponseNorm:
    """Return the norm over 5 neighbours of Krizhevsky et al. 2012, with torch's other defaults."""
    return nn.LocalResponseNorm(_whole("size", size), **arguments)


def _local_response_of_vectors(_: int, size: float = 5, **arguments: float) -> nn.LocalResponseNorm:
    return LocalResponseNormOfVectors(_whole("size", size), **arguments)


VECTOR_NORMS: dict[str, Callable[..., nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "group": _group,
    "rms": nn.RMSNorm,
    "local_response": _local_response_of_vectors,
}

MAP_NORMS: dict[str, Callable[..., nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "layer": _layer_of_maps,
    "group": _group,
    "instance": _instance,
    "rms": RMSNormOfMaps,
    "local_response": _local_response,
}


def build_norm(
    name: str, width: int, *, maps: bool = False, arguments: Mapping[str, float] = NO_ARGUMENTS
) -> nn.Module:
    """Return a new norm over `width` features of vectors, or channels of maps.

    The local response norm of vectors is over neighbouring features.

    Args:
        name: of `VECTOR_NORMS`, or of `MAP_NORMS` for maps.
        width: features or channels.
        maps: whether the norm is of maps.
        arguments: of `ARGUMENTS`.

    Raises:
        UnknownNameError: no norm has that name.
        UsageError: the norm needs maps, or is over a single feature, which it would set to zero or, `rms`, to its sign;
            or an argument is none of its.
    """
    if not maps and name == "instance":
        raise UsageError("norm 'instance' needs maps (a convnet); for dense layers choose batch, layer, group or rms")
    make = lookup(MAP_NORMS if maps else VECTOR_NORMS, name, "norm")
    for argument, value in arguments.items():
        if argument not in ARGUMENTS[name]:
            raise UsageError(f"norm {name!r} takes no {argument!r}: {suggest(argument, ARGUMENTS[name])}")
        _check_value(name, argument, value)
    _check_width(name, width, arguments.get("groups"), maps=maps)
    try:
        return make(width, **arguments)
    except ValueError as error:
        raise UsageError(f"norm {name!r} cannot be made for {width} features: {error}") from error


def _check_width(name: str, width: int, groups: float | None, *, maps: bool) -> None:
    """Refuse a norm of vectors that has one feature to look at, the same at every input; of maps it has positions."""
    together = 1 if name == "group" and groups == width else width
    if together == 1 and (name == "rms" or (not maps and name in ("layer", "group"))):
        raise UsageError(
            f"norm {name!r} over a single feature leaves nothing of it but its sign at most: choose batch, or none"
        )


def _check_value(name: str, argument: str, value: float) -> None:
    """Refuse what torch would take and fail on, or give NaN for, only when the network is used."""
    may_be_zero, highest = argument in MAY_BE_ZERO, HIGHEST.get(argument, math.inf)
    if not (math.isfinite(value) and (value > 0 or (may_be_zero and value == 0)) and value <= highest):
        bounds = ("from 0" if may_be_zero else "above 0") + (f" up to {highest:g}" if math.isfinite(highest) else "")
        raise UsageError(f"{argument} of norm {name!r} is {value:g}: give a finite number {bounds}")


def _whole(name: str, value: float) -> int:
    if value != int(value):
        raise UsageError(f"{name} of a norm is a whole number; {value} was given")
    return int(value)

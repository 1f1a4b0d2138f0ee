"""Normalisation layers by name: one menu for vectors `(batch, features)`, one for maps `(batch, channels, h, w)`."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.lookup import lookup


@dataclass(frozen=True)
class Norm:
    """Which norm, and where it stands.

    Attributes:
        name: a name of the menus below.
        after: behind the activation of each hidden layer; otherwise in front of it (Ioffe and Szegedy 2015).
        input: on the inputs too, where it does what standardising them would.
        output: on the outputs (logits) too.
    """

    name: str
    after: bool = False
    input: bool = False
    output: bool = False


PLACES = ("after", "input", "output")


def parse_norm(text: str) -> Norm:
    """Return the norm in `text`: `batch`, or with places behind a colon, `batch:after,input,output`.

    Raises:
        UnknownNameError: a place that is none of the three.
    """
    name, _, tail = text.partition(":")
    given = [place.strip() for place in tail.split(",") if place.strip()]
    for place in given:
        lookup(dict.fromkeys(PLACES), place, "place of a norm")
    return Norm(name.strip(), **dict.fromkeys(given, True))


class RMSNormOfMaps(nn.RMSNorm):
    """Root-mean-square norm over the channels of each position of a map (Zhang and Sennrich 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map, `(batch, channels, height, width)`."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def num_groups(width: int) -> int:
    """Return into how many groups `width` features go: at most 32, all equal, of at least 4 features.

    Wu and He 2018 take 32 groups on wide layers; a group of one feature would normalise it to zero.
    """
    return max(count for count in range(1, max(2, min(32, width // 4) + 1)) if width % count == 0)


def _group(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(num_groups(width), width)


def _layer_of_maps(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(1, width)  # over channels and positions, whatever the size of the map


def _instance(width: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(width, affine=True)


VECTOR_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "group": _group,
    "rms": nn.RMSNorm,
}

MAP_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "layer": _layer_of_maps,
    "group": _group,
    "instance": _instance,
    "rms": RMSNormOfMaps,
}


def build_norm(name: str, width: int, *, maps: bool = False) -> nn.Module:
    """Return a new norm over `width` features of vectors, or channels of maps.

    Raises:
        UnknownNameError: no norm has that name.
        UsageError: the norm needs maps and would set every feature of a vector to zero.
    """
    if not maps and name == "instance":
        raise UsageError("norm 'instance' needs maps (a convnet); for dense layers choose batch, layer, group or rms")
    return lookup(MAP_NORMS if maps else VECTOR_NORMS, name, "norm")(width)

"""Initial weights by name. Functions fill a tensor in place and return it, as those of `torch.nn.init`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.menus import choose, lookup, name_of

# A normal cut at two standard deviations is narrower than an uncut one, by this factor.
TRUNCATED_NORMAL_SPREAD = 0.87962566103423978

FANS: dict[str, Callable[[int, int], float]] = {
    "fan_in": lambda fan_in, _: fan_in,
    "fan_out": lambda _, fan_out: fan_out,
    "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2,
}


def _truncated_normal(tensor: Tensor, std: float) -> Tensor:
    wide = std / TRUNCATED_NORMAL_SPREAD
    return nn.init.trunc_normal_(tensor, std=wide, a=-2 * wide, b=2 * wide)


DISTRIBUTIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "truncated_normal": _truncated_normal,
    "normal": lambda tensor, std: nn.init.normal_(tensor, std=std),
    "uniform": lambda tensor, std: nn.init.uniform_(tensor, -math.sqrt(3) * std, math.sqrt(3) * std),
}


@torch.no_grad()
def variance_scaling(
    tensor: Tensor, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal"
) -> Tensor:
    """Fill `tensor` from a distribution of mean 0 and variance `scale / fan`.

    The scheme that holds Glorot and Bengio 2010, He et al. 2015 and LeCun et al. 1998; names and meanings are those of
    Keras, whose normal variants are cut at two standard deviations.

    Args:
        tensor: weights of a linear `(out, in)` or convolutional layer `(out, in, *kernel)`.
        scale: the numerator of the variance.
        mode: the fan in the denominator: fan_in, fan_out or fan_avg.
        distribution: truncated_normal (its variance is corrected for the cut), normal or uniform.

    Raises:
        UnknownNameError: a mode or distribution that does not exist.
        UsageError: the scale is not a positive number.
    """
    if not isinstance(scale, int | float) or not scale > 0:
        raise UsageError(f"variance scaling needs a positive number as its scale, not {scale!r}")
    fill = lookup(DISTRIBUTIONS, distribution, "distribution")
    fan = lookup(FANS, mode, "mode")(*_fans(tensor))
    return fill(tensor, math.sqrt(scale / max(fan, 1.0)))


def glorot_uniform(tensor: Tensor) -> Tensor:
    """Fill `tensor` with variance 2 / (fan_in + fan_out), uniform (Glorot and Bengio 2010)."""
    return variance_scaling(tensor, 1.0, "fan_avg", "uniform")


def glorot_normal(tensor: Tensor) -> Tensor:
    """Fill `tensor` with variance 2 / (fan_in + fan_out), truncated normal (Glorot and Bengio 2010)."""
    return variance_scaling(tensor, 1.0, "fan_avg")


def he_uniform(tensor: Tensor) -> Tensor:
    """Fill `tensor` with variance 2 / fan_in, uniform (He et al. 2015)."""
    return variance_scaling(tensor, 2.0, "fan_in", "uniform")


def he_normal(tensor: Tensor) -> Tensor:
    """Fill `tensor` with variance 2 / fan_in, truncated normal (He et al. 2015)."""
    return variance_scaling(tensor, 2.0)


def lecun_uniform(tensor: Tensor) -> Tensor:
    """Fill `tensor` with variance 1 / fan_in, uniform (LeCun et al. 1998)."""
    return variance_scaling(tensor, 1.0, "fan_in", "uniform")


def lecun_normal(tensor: Tensor) -> Tensor:
    """Fill `tensor` with variance 1 / fan_in, truncated normal (LeCun et al. 1998)."""
    return variance_scaling(tensor)


def _normal(tensor: Tensor, std: float = 0.01) -> Tensor:
    return nn.init.normal_(tensor, std=float(std))


def _constant(tensor: Tensor, value: float = 0.0) -> Tensor:
    return nn.init.constant_(tensor, float(value))


# The weight, and what torch's functions take beside values that mean something.
HIDDEN = ("tensor", "generator")

# Arguments may follow a colon: variance_scaling:2,fan_avg,uniform, normal:0.05 (standard deviation), constant:0.1,
# orthogonal:1.4 (gain).
INITIALIZERS: dict[str, Callable[..., Tensor]] = {
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
    "variance_scaling": variance_scaling,
    "zeros": nn.init.zeros_,
    "ones": nn.init.ones_,
    "normal": _normal,
    "orthogonal": nn.init.orthogonal_,
    "constant": _constant,
}

# What keeps the variance from layer to layer under each activation; every other takes He's.
DEFAULTS: dict[str, str] = {
    "none": "glorot_uniform",
    "sigmoid": "glorot_uniform",
    "tanh": "glorot_uniform",
    "softsign": "glorot_uniform",
    "selu": "lecun_normal",
}


def default_initializer(activation: str) -> str:
    """Return the name of the initializer that goes with an activation (its arguments do not matter)."""
    return DEFAULTS.get(name_of(activation), "he_normal")


def initializer(name: str) -> Callable[[Tensor], Tensor]:
    """Return the function called `name`, which fills a tensor in place.

    Raises:
        UnknownNameError: no initializer has that name.
        UsageError: arguments after the colon that the initializer does not take.

    Example:
        >>> initializer("constant:0.5")(torch.empty(2))
        tensor([0.5000, 0.5000])
    """
    return choose(INITIALIZERS, name, "initializer", HIDDEN)


def _fans(tensor: Tensor) -> tuple[int, int]:
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive

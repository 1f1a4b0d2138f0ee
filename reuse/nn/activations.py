"""Activation functions by name."""

from collections.abc import Callable

import torch
from torch import nn

from reuse.errors import UsageError
from reuse.menus import choose
from reuse.seeding import untouched_random_state


def _prelu(slope: float = 0.25) -> nn.PReLU:
    return nn.PReLU(init=slope)


# What torch's constructors take beside values that mean something.
HIDDEN = ("inplace", "args", "kwargs")

# Arguments may follow a colon: leaky_relu:0.2 (slope), rrelu:0.1,0.3 (lowest, highest slope),
# prelu:0 (slope to start from), elu:0.5 (alpha), gelu:tanh (the approximation).
ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "none": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softsign": nn.Softsign,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "rrelu": nn.RReLU,
    "prelu": _prelu,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,  # as Keras calls it
    "relu6": nn.ReLU6,
    "hard_swish": nn.Hardswish,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
}


def build_activation(name: str) -> nn.Module:
    """Return a new module of the activation called `name`.

    Raises:
        UnknownNameError: no activation has that name.
        UsageError: arguments after the colon that the activation does not take.

    Example:
        >>> build_activation("leaky_relu:0.2")
        LeakyReLU(negative_slope=0.2)
    """
    make = choose(ACTIVATIONS, name, "activation", HIDDEN)
    try:
        activation = make()
        with untouched_random_state():
            tried = activation(torch.tensor([-1.0, 0.0, 1.0]))  # torch looks at some arguments only here
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise UsageError(f"activation {name!r} cannot be made: {error}") from error
    if not tried.is_meta and not tried.isfinite().all():
        raise UsageError(f"activation {name!r} makes {tried.tolist()} of -1, 0 and 1: give finite arguments")
    return activation

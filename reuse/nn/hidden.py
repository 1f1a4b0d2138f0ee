"""A hidden layer is one module: the linear or convolutional part, then norm, activation, pooling, dropout."""

import warnings
from collections import OrderedDict
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.conv import _ConvNd

from reuse.errors import UsageError
from reuse.nn.activations import build_activation
from reuse.nn.initializers import default_initializer, initializer
from reuse.nn.norms import build_norm


@dataclass(frozen=True)
class HiddenStyle:
    """What all hidden layers of a network have in common.

    Attributes:
        activation: a name of `activations.ACTIVATIONS`.
        norm: a name of `norms`, between the linear part and the activation, or None.
        init: a name of `initializers.INITIALIZERS`; None follows the activation.
        dropout: probability of dropping an output in training; alpha dropout under SELU (Klambauer et al. 2017).
    """

    activation: str = "relu"
    norm: str | None = None
    init: str | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_probability("dropout", self.dropout)
        if self.activation == "selu" and not self.initializer.startswith("lecun"):
            warnings.warn(
                f"selu normalises itself only with LeCun initial weights, not {self.initializer}: leave init out",
                stacklevel=3,
            )

    @property
    def initializer(self) -> str:
        """The name of the initializer in effect."""
        return self.init or default_initializer(self.activation)


def check_probability(name: str, value: float) -> None:
    """Raise a UsageError unless `value` lies in [0, 1)."""
    if not 0 <= value < 1:
        raise UsageError(f"{name} is the share of values dropped, from 0 up to but not 1; {value} was given")


def hidden_linear(num_inputs: int, width: int, style: HiddenStyle) -> nn.Sequential:
    """Return a layer from `(batch, num_inputs)` to `(batch, width)`: `linear`, `norm`, `activation`, `dropout`.

    The bias goes when a norm follows, because the norm takes the mean away and has its own.
    """
    linear = nn.Linear(num_inputs, width, bias=style.norm is None)
    parts = _weighted("linear", linear, style)
    if style.norm is not None:
        parts["norm"] = build_norm(style.norm, width)
    return nn.Sequential(_finish(parts, style, None))


def hidden_conv(num_inputs: int, width: int, style: HiddenStyle, pool: nn.Module | None = None) -> nn.Sequential:
    """Return a 3x3 layer from `(batch, num_inputs, h, w)` to `(batch, width, h, w)`, then `pool` if one is given."""
    conv = nn.Conv2d(num_inputs, width, 3, padding=1, bias=style.norm is None)
    parts = _weighted("conv", conv, style)
    if style.norm is not None:
        parts["norm"] = build_norm(style.norm, width, maps=True)
    return nn.Sequential(_finish(parts, style, pool))


def initialize(layer: nn.Linear | _ConvNd, name: str = "glorot_uniform") -> None:
    """Fill the layer's weight from the initializer called `name` and its bias, if there is one, with zeros."""
    try:
        initializer(name)(layer.weight)
    except (TypeError, ValueError) as error:
        raise UsageError(f"initializer {name!r} cannot be used: {error}") from error
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _weighted(name: str, layer: nn.Linear | _ConvNd, style: HiddenStyle) -> OrderedDict[str, nn.Module]:
    initialize(layer, style.initializer)
    return OrderedDict({name: layer})


def _finish(
    parts: OrderedDict[str, nn.Module], style: HiddenStyle, pool: nn.Module | None
) -> OrderedDict[str, nn.Module]:
    if style.activation != "none":
        parts["activation"] = build_activation(style.activation)
    if pool is not None:
        parts["pool"] = pool
    if style.dropout:
        parts["dropout"] = (nn.AlphaDropout if style.activation == "selu" else nn.Dropout)(style.dropout)
    return parts

"""A hidden layer is one module: the linear or convolutional part, then norm, activation, pooling, dropout."""

import inspect
import warnings
from collections import OrderedDict
from dataclasses import dataclass, field, replace

from torch import nn
from torch.nn.modules.conv import _ConvNd

from reuse.errors import UsageError
from reuse.nn.activations import build_activation
from reuse.nn.initializers import default_initializer, initializer
from reuse.nn.norms import Norm, build_norm, parse_norm


@dataclass(frozen=True)
class HiddenStyle:
    """What all hidden layers of a network have in common.

    Attributes:
        activation: a name of `activations.ACTIVATIONS`.
        norm: a name of `norms`, between the linear part and the activation, or None; places may follow a colon:
            `batch:after,input,output` (see `norms.Norm`).
        init: a name of `initializers.INITIALIZERS`; None follows the activation.
        dropout: probability of dropping an output in training; alpha dropout under SELU (Klambauer et al. 2017).
        is_mirrored: whether the style was taken over from an encoder, for which the user has been warned already.
    """

    activation: str = "relu"
    norm: str | None = None
    init: str | None = None
    dropout: float = 0.0
    is_mirrored: bool = field(default=False, repr=False, compare=False)

    @property
    def placed_norm(self) -> Norm | None:
        """The norm and its places, None without one."""
        return None if self.norm is None else parse_norm(self.norm)

    @property
    def for_decoder(self) -> "HiddenStyle":
        """The style of a mirrored decoder: no norm on inputs and outputs, no dropout; the encoder's is noise enough."""
        norm = self.placed_norm
        bare = None if norm is None else f"{norm.name}:after" if norm.after else norm.name
        return replace(self, norm=bare, dropout=0.0, is_mirrored=True)

    def __post_init__(self) -> None:
        check_probability("dropout", self.dropout)

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
    linear = nn.Linear(num_inputs, width, bias=not _norm_follows(style))
    return _assemble("linear", linear, width, style)


def hidden_conv(num_inputs: int, width: int, style: HiddenStyle, pool: nn.Module | None = None) -> nn.Sequential:
    """Return a 3x3 layer from `(batch, num_inputs, h, w)` to `(batch, width, h, w)`, then `pool` if one is given."""
    conv = nn.Conv2d(num_inputs, width, 3, padding=1, bias=not _norm_follows(style))
    return _assemble("conv", conv, width, style, pool)


def output_linear(num_inputs: int, num_outputs: int, style: HiddenStyle) -> OrderedDict[str, nn.Module]:
    """Return `output`, a linear layer with Glorot's weights, and `output_norm` where the style wants one."""
    norm = style.placed_norm
    output = nn.Linear(num_inputs, num_outputs, bias=norm is None or not norm.output)
    initialize(output)
    layers: OrderedDict[str, nn.Module] = OrderedDict(output=output)
    if norm is not None and norm.output:
        layers["output_norm"] = build_norm(norm.name, num_outputs)
    return layers


def input_layers(
    num_features: int, style: HiddenStyle, dropout: float, *, maps: bool = False
) -> OrderedDict[str, nn.Module]:
    """Return what stands in front of the first hidden layer: `input_norm`, `input_dropout`, where they are wanted.

    Every network begins here, once; so it is here that a style which does not fit together is warned of.
    """
    _warn_of_weights(style)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    norm = style.placed_norm
    if norm is not None and norm.input:
        layers["input_norm"] = build_norm(norm.name, num_features, maps=maps)
    if dropout:
        layers["input_dropout"] = nn.Dropout(dropout)
    return layers


def initialize(layer: nn.Linear | _ConvNd, name: str = "glorot_uniform") -> None:
    """Fill the layer's weight from the initializer called `name` and its bias, if there is one, with zeros."""
    try:
        initializer(name)(layer.weight)
    except (TypeError, ValueError) as error:
        raise UsageError(f"initializer {name!r} cannot be used: {error}") from error
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _warn_of_weights(style: HiddenStyle) -> None:
    if style.activation != "selu" or style.initializer.startswith("lecun") or style.is_mirrored:
        return
    frame, level = inspect.currentframe(), 1
    while frame and frame.f_back and frame.f_globals["__name__"].startswith("reuse.nn."):
        frame, level = frame.f_back, level + 1
    warnings.warn(  # at the line that asked for the network
        f"activation 'selu' with initial weights {style.initializer!r}: it keeps activations at mean 0 and variance 1 "
        "only from LeCun initial weights; leave init out, or give init='lecun_normal'",
        stacklevel=level,
    )


def _norm_follows(style: HiddenStyle) -> bool:
    return style.placed_norm is not None and not style.placed_norm.after


def _assemble(
    kind: str, layer: nn.Linear | nn.Conv2d, width: int, style: HiddenStyle, pool: nn.Module | None = None
) -> nn.Sequential:
    initialize(layer, style.initializer)
    norm = style.placed_norm
    built = None if norm is None else build_norm(norm.name, width, maps=kind == "conv")
    activation = None if style.activation == "none" else build_activation(style.activation)
    drop = (nn.AlphaDropout if style.activation == "selu" else nn.Dropout)(style.dropout) if style.dropout else None
    middle = [("norm", built), ("activation", activation)]
    parts = [(kind, layer), *(middle[::-1] if norm is not None and norm.after else middle), ("pool", pool)]
    return nn.Sequential(OrderedDict((name, part) for name, part in [*parts, ("dropout", drop)] if part is not None))

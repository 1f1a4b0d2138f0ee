"""Hidden layers, each one module: the linear or convolutional part, then norm, activation, dropout."""

from collections import OrderedDict
from dataclasses import dataclass, replace

from torch import nn
from torch.nn.modules.conv import _ConvNd

from reuse.errors import UsageError
from reuse.nn.activations import build_activation
from reuse.nn.initializers import default_initializer, initializer
from reuse.nn.norm_specs import Norm, normalise_weight, parse_norm
from reuse.nn.norms import SHIFTING, build_norm

Pair = tuple[int, int]


@dataclass(frozen=True)
class HiddenStyle:
    """The style of a network's hidden layers.

    Attributes:
        activation: a name of `activations.ACTIVATIONS`.
        norm: a name of `norms`, between the linear part and the activation, of `norm_specs.WEIGHT_NORMS`, or None;
            arguments and places may follow a colon: `batch:eps=0.001,after,input,output` (see `parse_norm`).
        init: a name of `initializers.INITIALIZERS`; None follows the activation.
        dropout: probability of dropping an output in training; alpha dropout under SELU (Klambauer et al. 2017).
        drop_path: probability of leaving out what a residual layer adds, row by row, in training.
    """

    activation: str = "relu"
    norm: str | None = None
    init: str | None = None
    dropout: float = 0.0
    drop_path: float = 0.0

    @property
    def placed_norm(self) -> Norm | None:
        """The norm and its places, None without one."""
        return parse_norm(self.norm)

    @property
    def for_decoder(self) -> "HiddenStyle":
        """The style of a mirrored decoder: no norm on inputs and outputs, no dropout; the encoder's is noise enough."""
        norm = self.placed_norm
        return replace(self, norm=None if norm is None else str(norm.within), dropout=0.0)

    def __post_init__(self) -> None:
        check_probability("dropout", self.dropout)
        check_probability("drop_path", self.drop_path)

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

    The bias goes when a norm follows that takes the mean away and has a bias of its own.
    """
    linear = nn.Linear(num_inputs, width, bias=not _shift_follows(style))
    return _assemble("linear", linear, width, style)


def hidden_conv(
    num_inputs: int,
    width: int,
    style: HiddenStyle,
    *,
    kernel: Pair = (3, 3),
    groups: int = 1,
) -> nn.Sequential:
    """Return a layer from `(batch, num_inputs, h, w)` to `(batch, width, h, w)`: `conv`, and so on.

    Args:
        num_inputs: channels of its inputs.
        width: channels of its outputs.
        style: activation, norm, initial weights and dropout.
        kernel: height and width, both odd.
        groups: into how many independent parts the channels go.
    """
    padding, bias = (kernel[0] // 2, kernel[1] // 2), not _shift_follows(style)
    conv = nn.Conv2d(num_inputs, width, kernel, padding=padding, groups=groups, bias=bias)
    return _assemble("conv", conv, width, style)


def hidden_dropout(style: HiddenStyle, probability: float) -> nn.Module | None:
    """Return the dropout that goes with the activation, None for a probability of 0."""
    return (nn.AlphaDropout if style.activation == "selu" else nn.Dropout)(probability) if probability else None


def output_linear(num_inputs: int, num_outputs: int, style: HiddenStyle) -> OrderedDict[str, nn.Module]:
    """Return `output`, a linear layer with Glorot's weights, and `output_norm` where the style wants one."""
    norm = style.placed_norm if style.placed_norm is not None and style.placed_norm.output else None
    output = nn.Linear(num_inputs, num_outputs, bias=norm is None or norm.name not in SHIFTING)
    initialize(output)
    layers: OrderedDict[str, nn.Module] = OrderedDict(output=output)
    if norm is not None and norm.is_layer:
        layers["output_norm"] = build_norm(norm.name, num_outputs, arguments=norm.arguments)
    elif norm is not None:
        normalise_weight(output, norm.name)
    return layers


def input_layers(
    num_features: int, style: HiddenStyle, dropout: float, *, maps: bool = False
) -> OrderedDict[str, nn.Module]:
    """Return what stands in front of the first hidden layer: `input_norm`, `input_dropout`, where they are wanted."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    norm = style.placed_norm
    if norm is not None and norm.input:
        layers["input_norm"] = build_norm(norm.name, num_features, maps=maps, arguments=norm.arguments)
    drop = hidden_dropout(style, dropout)
    if drop is not None:
        layers["input_dropout"] = drop
    return layers


def initialize(layer: nn.Linear | _ConvNd, name: str = "glorot_uniform") -> None:
    """Fill the layer's weight from the initializer called `name` and its bias, if there is one, with zeros."""
    try:
        initializer(name)(layer.weight)
    except (TypeError, ValueError) as error:
        raise UsageError(f"initializer {name!r} cannot be used: {error}") from error
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def norm_and_activation(width: int, style: HiddenStyle, *, maps: bool = False) -> list[tuple[str, nn.Module]]:
    """Return `norm` and `activation`, those that the style wants, in its order."""
    norm = style.placed_norm
    parts: list[tuple[str, nn.Module]] = []
    if norm is not None and norm.is_layer:
        parts.append(("norm", build_norm(norm.name, width, maps=maps, arguments=norm.arguments)))
    if style.activation != "none":
        parts.append(("activation", build_activation(style.activation)))
    return parts[::-1] if norm is not None and norm.after else parts


def _shift_follows(style: HiddenStyle) -> bool:
    norm = style.placed_norm
    return norm is not None and norm.name in SHIFTING and not norm.after


def _assemble(kind: str, layer: nn.Linear | nn.Conv2d, width: int, style: HiddenStyle) -> nn.Sequential:
    initialize(layer, style.initializer)
    norm = style.placed_norm
    if norm is not None and not norm.is_layer:
        normalise_weight(layer, norm.name)
    parts = [(kind, layer), *norm_and_activation(width, style, maps=kind == "conv")]
    drop = hidden_dropout(style, style.dropout)
    return nn.Sequential(OrderedDict(parts if drop is None else [*parts, ("dropout", drop)]))

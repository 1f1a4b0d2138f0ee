"""Spec strings of layered networks, `mlp:300,100,50`, `lstm:64`: reading, shortening and lengthening them.

What follows the colon of a `convnet` is described in `conv_specs`. `highway` layers are all equally wide. `default` is
`default:300,100`, an mlp that brings options of its own along (see `family_options`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reuse.errors import UnknownNameError, UsageError
from reuse.menus import lookup, name_of, split_list, suggest
from reuse.nn.conv_specs import ConvLayer, conv_layers_text, parse_conv_layers, whole_number
from reuse.nn.options import LayerOptions

# What the hidden layers of each family are called, before their number.
LAYER_NAMES = {
    "mlp": "hidden",
    "convnet": "conv",
    "lstm": "lstm",
    "gru": "gru",
    "highway": "hidden",
    "default": "hidden",
}
DEFAULT_FAMILY, CONVNET = "default", "convnet"
RECURRENT = ("lstm", "gru")
DENSE_NAME = "hidden"  # of the dense layers behind the convolutions of a convnet
DEFAULT_WIDTHS = (300, 100)  # of `default` without widths

# Options of our own networks where nobody gives them.
LAYERED = LayerOptions(activation="relu", dropout=0.0)

# ELU brings He's initial weights along. The sum of what was found to work for most problems, for 2017 and since.
FAMILIES = {DEFAULT_FAMILY: LayerOptions(activation="elu", norm="batch", dropout=0.2)}


@dataclass(frozen=True)
class LayeredSpec:
    """A family and its hidden layers, lowest first.

    Attributes:
        family: of `LAYER_NAMES`.
        widths: units of the dense or recurrent layers; of a convnet those behind the convolutions.
        convolutions: of a convnet.
    """

    family: str
    widths: tuple[int, ...]
    convolutions: tuple[ConvLayer, ...] = ()

    def __str__(self) -> str:
        widths = ",".join(map(str, self.widths))
        if not self.convolutions:
            return f"{self.family}:{widths}"
        return f"{self.family}:{conv_layers_text(self.convolutions)}" + (f"/{widths}" if widths else "")

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the hidden layers, lowest first."""
        name = LAYER_NAMES[self.family]
        convolutions = _numbered(name, len(self.convolutions))
        return convolutions + _numbered(DENSE_NAME if convolutions else name, len(self.widths))

    def lowest(self, count: int) -> "LayeredSpec":
        """Return the spec of the lowest `count` hidden layers."""
        convolutions = self.convolutions[:count]
        return replace(self, convolutions=convolutions, widths=self.widths[: count - len(convolutions)])


def is_recurrent(spec: str) -> bool:
    """Return whether `spec` is of a net that reads sequences step by step."""
    return name_of(spec) in RECURRENT


def family_options(spec: str) -> LayerOptions:
    """Return the options that a spec brings along: those of the default network, of any other none.

    Example:
        >>> family_options("default:300,100").norm
        'batch'
    """
    return FAMILIES.get(name_of(spec), LayerOptions())


def with_defaults(spec: str, options: LayerOptions) -> LayerOptions:
    """Return `options` with those that are None filled in, for a spec of ours."""
    if name_of(spec) not in LAYER_NAMES:
        return options
    return options.filled(family_options(spec)).filled(LAYERED)


def parse_layered(spec: str) -> LayeredSpec:
    """Return what a spec such as `mlp:300,100,50` says; `conv_specs` has the layers of a convnet.

    Raises:
        UnknownNameError: the family is not layered.
        UsageError: there are no widths, or one is not a positive whole number.
    """
    family, _, tail = spec.partition(":")
    lookup(LAYER_NAMES, family, "layered family")
    if family == DEFAULT_FAMILY and not tail.strip():
        return LayeredSpec(family, DEFAULT_WIDTHS)
    if family != CONVNET or not tail.strip():
        return LayeredSpec(family, parse_widths(tail, spec))
    convolutions, slash, widths = tail.partition("/")
    return LayeredSpec(family, parse_widths(widths, spec) if slash else (), parse_conv_layers(convolutions, spec))


def parse_widths(text: str, spec: str) -> tuple[int, ...]:
    """Return the widths in `text` (`300,100`); `spec` is what the user wrote, for the message."""
    if not text.strip():
        raise UsageError(f"{spec!r} gives no widths: write them after the colon, lowest layer first, as in mlp:300,100")
    return tuple(_width(part, spec) for part in split_list(text, "layers", spec))


def drop_layers(spec: str, names: str | Sequence[str]) -> str:
    """Return `spec` without its uppermost hidden layers.

    Args:
        spec: a layered spec.
        names: the layers to drop, comma-separated or as a sequence; together they must be the uppermost ones.

    Raises:
        UnknownNameError: there is no hidden layer of that name.
        UsageError: a layer above would lose its input, or no hidden layer would be left, or `spec` is not layered.

    Example:
        >>> drop_layers("mlp:300,100,50", "hidden3")
        'mlp:300,100'
    """
    parsed = _parse_to_change(spec, "drop layers from")
    unwanted = split_list(names, "layers to drop") if isinstance(names, str) else names
    if not unwanted:
        raise UsageError("no layers to drop were named: give the uppermost, as in hidden3 or hidden2,hidden3")
    for name in unwanted:
        if name not in parsed.layers:
            raise UnknownNameError(f"{spec} has no hidden layer {name!r}: {suggest(name, parsed.layers)}")
    kept = [layer for layer in parsed.layers if layer not in unwanted]
    if not kept:
        raise UsageError(f"dropping {', '.join(unwanted)} leaves no hidden layer of {spec}: keep at least one")
    if tuple(kept) != parsed.layers[: len(kept)]:
        uppermost = ", ".join(parsed.layers[len(kept) :])
        raise UsageError(
            f"only the uppermost layers of {spec} can be dropped, here {uppermost}; {', '.join(unwanted)} was given"
        )
    return str(parsed.lowest(len(kept)))


def add_layers(spec: str, widths: str | Sequence[int]) -> str:
    """Return `spec` with hidden layers of `widths` (`50,20` or a sequence) added above its own.

    To a convnet they are convolutional layers (`residual64`), dense ones behind a slash (`64/100`, `/100`), and all
    dense where it has dense ones already.

    Raises:
        UsageError: a width is not a positive whole number, none is given, or `spec` is not layered.

    Example:
        >>> add_layers("mlp:300,100", "50,20")
        'mlp:300,100,50,20'
    """
    parsed = _parse_to_change(spec, "add layers to")
    text = widths if isinstance(widths, str) else ",".join(map(str, widths))
    if parsed.family != CONVNET or parsed.widths:
        more = parse_widths(text.removeprefix("/") if parsed.convolutions else text, text)
        return str(replace(parsed, widths=parsed.widths + more))
    below, slash, dense = text.partition("/")
    if not below.strip() and not slash:
        raise UsageError(f"no layers to add to {spec}: give their widths, as in 64,64 or /100")
    convolutions = parse_conv_layers(below, text) if below.strip() else ()
    more = parse_widths(dense, text) if slash else ()
    return str(replace(parsed, convolutions=parsed.convolutions + convolutions, widths=more))


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}{number}" for number in range(1, count + 1))


def _parse_to_change(spec: str, what: str) -> LayeredSpec:
    if name_of(spec) not in LAYER_NAMES:
        raise UsageError(f"cannot {what} {spec!r}: only {' and '.join(LAYER_NAMES)} specs name their layers")
    return parse_layered(spec)


def _width(text: str, spec: str) -> int:
    if not (text.isascii() and text.isdecimal() and whole_number(text) > 0):
        raise UsageError(f"{text!r} in {spec!r} is not a width: give positive whole numbers, as in mlp:300,100,50")
    return int(text)

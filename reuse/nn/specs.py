"""Spec strings of layered networks, `mlp:300,100,50`, `lstm:64`: reading, shortening and lengthening them."""

from collections.abc import Sequence
from dataclasses import dataclass

from reuse.errors import UnknownNameError, UsageError
from reuse.lookup import lookup, suggest

# What the hidden layers of each family are called, before their number.
LAYER_NAMES = {"mlp": "hidden", "convnet": "conv", "lstm": "lstm", "gru": "gru"}


@dataclass(frozen=True)
class LayeredSpec:
    """A family and the widths of its hidden layers, lowest first."""

    family: str
    widths: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.family}:{','.join(map(str, self.widths))}"

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the hidden layers, lowest first."""
        return tuple(f"{LAYER_NAMES[self.family]}{number + 1}" for number in range(len(self.widths)))


def parse_layered(spec: str) -> LayeredSpec:
    """Return family and widths of a spec such as `mlp:300,100,50`.

    Raises:
        UnknownNameError: the family is not layered.
        UsageError: there are no widths, or one is not a positive whole number.
    """
    family, _, tail = spec.partition(":")
    lookup(LAYER_NAMES, family, "layered family")
    return LayeredSpec(family, parse_widths(tail, spec))


def parse_widths(text: str, spec: str) -> tuple[int, ...]:
    """Return the widths in `text` (`300,100`); `spec` is what the user wrote, for the message."""
    if not text.strip():
        raise UsageError(f"{spec!r} gives no widths: write them after the colon, lowest layer first, as in mlp:300,100")
    return tuple(_width(part.strip(), spec) for part in text.split(","))


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
    unwanted = _split(names)
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
    return str(LayeredSpec(parsed.family, parsed.widths[: len(kept)]))


def add_layers(spec: str, widths: str | Sequence[int]) -> str:
    """Return `spec` with hidden layers of `widths` (`50,20` or a sequence) added above its own.

    Raises:
        UsageError: a width is not a positive whole number, none is given, or `spec` is not layered.

    Example:
        >>> add_layers("mlp:300,100", "50,20")
        'mlp:300,100,50,20'
    """
    parsed = _parse_to_change(spec, "add layers to")
    text = widths if isinstance(widths, str) else ",".join(map(str, widths))
    return str(LayeredSpec(parsed.family, parsed.widths + parse_widths(text, text)))


def _parse_to_change(spec: str, what: str) -> LayeredSpec:
    if spec.partition(":")[0] not in LAYER_NAMES:
        raise UsageError(f"cannot {what} {spec!r}: only {' and '.join(LAYER_NAMES)} specs name their layers")
    return parse_layered(spec)


def _width(text: str, spec: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise UsageError(f"{text!r} in {spec!r} is not a width: give positive whole numbers, as in mlp:300,100,50")
    return int(text)


def _split(names: str | Sequence[str]) -> list[str]:
    parts = names.split(",") if isinstance(names, str) else names
    stripped = [part.strip() for part in parts if part.strip()]
    if not stripped:
        raise UsageError("no layers to drop were named: give the uppermost, as in hidden3 or hidden2,hidden3")
    return stripped

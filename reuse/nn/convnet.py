"""Convolutional networks: `convnet:32,64`."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from reuse.errors import UsageError
from reuse.nn.conv_blocks import BLOCKS, PLAIN, RESIDUAL
from reuse.nn.conv_specs import ConvLayer
from reuse.nn.hidden import HiddenStyle, hidden_dropout, input_layers, output_linear
from reuse.nn.mlp import dense_layers

Size = tuple[int, int]


class ConvNet(nn.Sequential):
    """Convolutional layers with pooling, then dense layers where they are wanted.

    Its layers are `input_dropout` if wanted, `conv1`, `conv2`, …, `flatten`, `hidden1`, …, `output`. Each convolutional
    layer keeps the size of its map and then, if it is pooled, halves it by max-pooling, rounding down, in each
    direction that is at least 2 long. The last map is flattened, not averaged: on small images most of what tells
    classes apart is *where* a feature was found, and an average over positions throws that away.

    Args:
        input_shape: `(channels, height, width)` of one sample, of any size.
        convolutions: the convolutional layers, lowest first.
        num_outputs: units of the output layer, which has no activation.
        style: activation, norm, initial weights and dropout. Where there are dense layers they alone have the dropout.
            `drop_path` is that of the last residual layer; those below have less, in equal steps.
        input_dropout: probability of dropping an input in training.
        widths: units of each dense layer, lowest first.

    Raises:
        UsageError: instance norm of a map of one position.

    Takes `(batch, channels, height, width)` and returns `(batch, num_outputs)`.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        convolutions: Sequence[ConvLayer],
        num_outputs: int,
        style: HiddenStyle | None = None,
        input_dropout: float = 0.0,
        widths: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.style = style or HiddenStyle()
        self.convolutions, self.widths = tuple(convolutions), tuple(widths)
        channels, *size = input_shape
        sizes = map_sizes((size[0], size[1]), self.convolutions)
        _check_instances(self.style, sizes[: len(self.convolutions)])
        for name, layer in input_layers(channels, self.style, input_dropout, maps=True).items():
            self.add_module(name, layer)
        styles = _styles(self.style, self.convolutions, has_dense=bool(widths))
        for number, (conv, own, before) in enumerate(zip(self.convolutions, styles, sizes, strict=False), start=1):
            self.add_module(f"conv{number}", _conv_layer(channels, conv, own, before))
            channels = conv.num_outputs(channels)
        self.add_module("flatten", nn.Flatten())
        previous = channels * math.prod(sizes[-1])
        for number, dense in enumerate(dense_layers(previous, self.widths, self.style), start=1):
            self.add_module(f"hidden{number}", dense)
        for name, layer in output_linear([previous, *self.widths][-1], num_outputs, self.style).items():
            self.add_module(name, layer)

    @property
    def has_mirror(self) -> bool:
        """Whether its layers can be gone through in reverse: plain ones with pooling, and nothing dense behind."""
        return not self.widths and all(layer.kind == PLAIN and layer.pooled for layer in self.convolutions)


def map_sizes(size: Size, convolutions: Sequence[ConvLayer]) -> list[Size]:
    """Return height and width of the input and of the map that each layer gives: one more than there are layers."""
    sizes = [size]
    for layer in convolutions:
        height, width = sizes[-1]
        sizes.append((max(height // 2, 1), max(width // 2, 1)) if layer.pooled else sizes[-1])
    return sizes


def _check_instances(style: HiddenStyle, sizes: Sequence[Size]) -> None:
    """Refuse instance norm where there is nothing to take a mean over; `sizes` are of the map that each layer gets."""
    norm = style.placed_norm
    if norm is None or norm.name != "instance" or (1, 1) not in sizes:
        return
    number = sizes.index((1, 1)) + 1
    where = "the inputs are" if number == 1 else f"conv{number} makes"
    raise UsageError(
        f"norm 'instance' is over the positions of each map, and {where} maps of one position: choose layer or group, "
        "fewer layers, or some without pooling, as in 32+32"
    )


def _styles(style: HiddenStyle, convolutions: Sequence[ConvLayer], *, has_dense: bool) -> list[HiddenStyle]:
    """Return the style of each layer."""
    total, number, styles = sum(layer.kind == RESIDUAL for layer in convolutions), 0, []
    for layer in convolutions:
        number += layer.kind == RESIDUAL
        path = style.drop_path * number / total if total else 0.0
        styles.append(replace(style, dropout=0.0 if has_dense else style.dropout, drop_path=path))
    return styles


def _conv_layer(num_inputs: int, layer: ConvLayer, style: HiddenStyle, size: Size) -> nn.Sequential:
    parts = BLOCKS[layer.kind](num_inputs, layer.width, layer.kernel, replace(style, dropout=0.0))
    behind = {"pool": _pool(size) if layer.pooled else None, "dropout": hidden_dropout(style, style.dropout)}
    present = {name: part for name, part in behind.items() if part is not None}
    return nn.Sequential(OrderedDict({**parts, **present}))


def _pool(size: Size) -> nn.Module | None:
    window = (min(size[0], 2), min(size[1], 2))
    return None if window == (1, 1) else nn.MaxPool2d(window)

"""Plain convolutional networks: `convnet:32,64`."""

import math
from collections.abc import Sequence

from torch import nn

from reuse.nn.hidden import HiddenStyle, hidden_conv, input_layers, output_linear

Size = tuple[int, int]


class ConvNet(nn.Sequential):
    """Convolution and pooling, layer by layer: `input_dropout` if wanted, `conv1`, `conv2`, …, `flatten`, `output`.

    Each layer keeps the size of its map and then halves it by max-pooling, rounding down, in each direction that is at
    least 2 long. The last map is flattened, not averaged: on small images most of what tells classes apart is *where*
    a feature was found, and an average over positions throws that away.

    Args:
        input_shape: `(channels, height, width)` of one sample, of any size.
        widths: channels of each layer, lowest first.
        num_outputs: units of the output layer, which has no activation.
        style: activation, norm, initial weights and dropout of the convolutional layers.
        input_dropout: probability of dropping an input in training.

    Takes `(batch, channels, height, width)` and returns `(batch, num_outputs)`.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        widths: Sequence[int],
        num_outputs: int,
        style: HiddenStyle | None = None,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.style = style or HiddenStyle()
        self.widths = tuple(widths)
        channels, *size = input_shape
        for name, layer in input_layers(channels, self.style, input_dropout, maps=True).items():
            self.add_module(name, layer)
        sizes = map_sizes((size[0], size[1]), len(self.widths))
        for number, width in enumerate(self.widths, start=1):
            pool = _pool(sizes[number - 1])
            self.add_module(f"conv{number}", hidden_conv(channels, width, self.style, pool))
            channels = width
        self.add_module("flatten", nn.Flatten())
        for name, layer in output_linear(channels * math.prod(sizes[-1]), num_outputs, self.style).items():
            self.add_module(name, layer)


def map_sizes(size: Size, depth: int) -> list[Size]:
    """Return height and width of the input and of the map that each of `depth` layers gives: `depth + 1` of them."""
    sizes = [size]
    for _ in range(depth):
        height, width = sizes[-1]
        sizes.append((max(height // 2, 1), max(width // 2, 1)))
    return sizes


def _pool(size: Size) -> nn.Module | None:
    window = (min(size[0], 2), min(size[1], 2))
    return None if window == (1, 1) else nn.MaxPool2d(window)

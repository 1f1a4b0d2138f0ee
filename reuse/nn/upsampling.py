"""Decoders to images: a coding is spread over a small map, which is enlarged and convolved, layer by layer."""

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from reuse.nn.convnet import Size
from reuse.nn.hidden import HiddenStyle, hidden_conv, initialize


class MapDecoder(nn.Sequential):
    """A decoder from a coding to an image: `spread`, `layer1`, `layer2`, …, `output`.

    Args:
        spread: from the coding to the first map, `(batch, num_channels, h, w)`.
        num_channels: of the first map.
        channels: of the map that each layer gives; the last is the image's.
        sizes: height and width of the map that each layer gives, enlarged by nearest neighbours and then convolved.
        style: activation, norm and initial weights of all layers but the last, which is linear.
    """

    def __init__(
        self, spread: nn.Module, num_channels: int, channels: Sequence[int], sizes: Sequence[Size], style: HiddenStyle
    ) -> None:
        super().__init__()
        self.add_module("spread", spread)
        previous = num_channels
        for number, (width, size) in enumerate(zip(channels[:-1], sizes[:-1], strict=True), start=1):
            self.add_module(f"layer{number}", _enlarge(size, hidden_conv(previous, width, style)))
            previous = width
        conv = nn.Conv2d(previous, channels[-1], 3, padding=1)
        initialize(conv)
        self.add_module("output", _enlarge(sizes[-1], nn.Sequential(OrderedDict(conv=conv))))


class ChannelsFirst(nn.Module):
    """Maps `(batch, height, width, channels)` turned to `(batch, channels, height, width)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with its channels in front."""
        return x.permute(0, 3, 1, 2)


class TokensToMap(nn.Module):
    """A transformer's tokens laid out as the map they come from, without leading ones (class, registers).

    Args:
        leading: how many tokens in front have no place in the image.
        size: rows and columns of the others.

    Takes `(batch, leading + rows * columns, features)` and returns `(batch, features, rows, columns)`.
    """

    def __init__(self, leading: int, size: Size) -> None:
        super().__init__()
        self.leading = leading
        self.size = size

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the map."""
        placed: Tensor = tokens[:, self.leading :].transpose(1, 2)
        return placed.reshape(placed.size(0), placed.size(1), *self.size)


def doubling_sizes(start: Size, target: Size) -> list[Size]:
    """Return the sizes from `start` (left out) to `target` (the last), each about twice the one before.

    Example:
        >>> doubling_sizes((4, 4), (28, 28))
        [(7, 7), (14, 14), (28, 28)]
    """
    growth = max(target[0] / start[0], target[1] / start[1], 2.0)
    count = math.ceil(math.log2(growth))
    return [halved(target, count - step) for step in range(1, count + 1)]


def halved(size: Size, times: int) -> Size:
    """Return `size` halved `times` times, rounded up."""
    return (math.ceil(size[0] / 2**times), math.ceil(size[1] / 2**times))


def halved_channels(start: int, count: int, fewest: int, most: int) -> list[int]:
    """Return the channels of `count` maps after one of `start`, each half as many, from `most` down to `fewest`."""
    return [max(fewest, min(start, most) // 2**step) for step in range(1, count + 1)]


def _enlarge(size: Size, layer: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(OrderedDict([("enlarge", nn.Upsample(size)), *layer.named_children()]))

"""Generators of rows from random numbers: transposed convolutions for images, values within the data's own range."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.nn.convnet import Size
from reuse.nn.decoders import build_generator
from reuse.nn.hidden import initialize
from reuse.nn.mlp import MLP
from reuse.nn.upsampling import doubling_sizes, halved, halved_channels

LARGEST_FIRST_MAP = 7  # pixels a side of the map that the numbers are spread over
CHANNELS = (32, 256)  # fewest (next to the image) and most (of the first map)


class WithinRange(nn.Module):
    """Values squashed into the range of each channel: nobody tells images by values that no row has.

    Args:
        rows: some, `(rows, channels, height, width)`.
    """

    lowest: Tensor
    width: Tensor

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        lowest, highest = (extreme(rows, (0, 2, 3), keepdim=True) for extreme in (torch.amin, torch.amax))
        self.register_buffer("lowest", lowest)
        self.register_buffer("width", highest - lowest)

    def forward(self, x: Tensor) -> Tensor:
        """Return values from lowest to highest; an input of 0 lies in the middle."""
        return self.lowest + self.width * torch.sigmoid(x)


class Doubled(nn.Sequential):
    """A transposed convolution of stride 2: `conv`, `norm`, `activation`, cut to a size where twice is one too many."""

    def __init__(self, num_inputs: int, width: int, size: Size, *, last: bool) -> None:
        super().__init__()
        self.size = size
        conv = nn.ConvTranspose2d(num_inputs, width, 4, 2, 1, bias=last)
        initialize(conv)
        self.add_module("conv", conv)
        if not last:
            self.add_module("norm", nn.BatchNorm2d(width))
            self.add_module("activation", nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Return the larger map."""
        large: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return large[:, :, : self.size[0], : self.size[1]]


def generator_for(encoder: nn.Module, example: Tensor, size: int, rows: Tensor) -> nn.Module:
    """Return a fresh generator of rows from `size` numbers.

    - Of vectors and sequences it is the encoder's mirror (see `build_generator`), as it is behind an mlp.
    - Of images that any other encoder looks at it is a DCGAN's: Radford et al. 2016, https://arxiv.org/abs/1511.06434:
      transposed convolutions, batch norm, ReLU. Behind either, images lie within the range of the data.

    Args:
        encoder: as `build_decoder` takes it.
        example: one sample, `(1, *input_shape)`.
        size: how many numbers.
        rows: some, `(rows, *input_shape)`, which show the range.

    Raises:
        UsageError: as `build_generator`.
    """
    if example.dim() != 4:
        return build_generator(encoder, example, size)
    is_mirrored = isinstance(encoder, MLP)
    generator = build_generator(encoder, example, size) if is_mirrored else _dcgan(tuple(example.shape[1:]), size)
    return nn.Sequential(OrderedDict(generator.named_children()) | {"range": WithinRange(rows)})


def _dcgan(image: tuple[int, ...], size: int) -> nn.Module:
    if size < 1:
        raise UsageError(f"a generator is to start from {size} numbers: give 1 or more")
    target = (image[1], image[2])
    times = max(math.ceil(math.log2(max(target) / LARGEST_FIRST_MAP)), 1)
    start = halved(target, times)
    sizes = doubling_sizes(start, target)
    first = min(CHANNELS[0] * 2 ** len(sizes), CHANNELS[1])
    widths = [first, *halved_channels(first, len(sizes) - 1, *CHANNELS), image[0]]
    spread = nn.Linear(size, first * math.prod(start), bias=False)
    initialize(spread)
    layers: OrderedDict[str, nn.Module] = OrderedDict(spread=spread, unflatten=nn.Unflatten(1, (first, *start)))
    layers |= OrderedDict(norm=nn.BatchNorm2d(first), activation=nn.ReLU())
    for number, to in enumerate(sizes):
        layers[f"layer{number + 1}"] = Doubled(widths[number], widths[number + 1], to, last=number == len(sizes) - 1)
    return nn.Sequential(layers)

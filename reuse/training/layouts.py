"""The order in which images and maps lie in memory."""

from collections.abc import Iterable

import torch
from torch import nn

IMAGES = 4  # dimensions of the weights of a convolution over images: outputs, inputs, height, width


def put_channels_last(parameters: Iterable[nn.Parameter]) -> None:
    """Lay the weights of convolutions over images out with their channels last, in place; others stay.

    A convolution with such weights returns its maps so too, and pooling and norms keep to it, so that nothing else is
    to be done: https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html. Values and shapes stay.
    """
    for parameter in parameters:
        if parameter.dim() == IMAGES:
            # Of one channel `contiguous` finds nothing to do, and the maps would not follow.
            laid_out = torch.empty_like(parameter.data, memory_format=torch.channels_last)
            parameter.data = laid_out.copy_(parameter.data)

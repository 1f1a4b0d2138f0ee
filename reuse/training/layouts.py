"""The order in which images and maps lie in memory."""

from collections import Counter
from itertools import chain

import torch
from torch import Tensor, nn

IMAGES = 4  # dimensions of the weights of a convolution over images: outputs, inputs, height, width


def put_channels_last(model: nn.Module) -> None:
    """Lay the trained weights of four dimensions out with their channels last, in place; others stay.

    A convolution with such weights returns its maps so too, and pooling and norms keep to it, so that nothing else is
    to be done: https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html. Values and shapes stay.
    What has four dimensions and is no convolution's, as an embedding of positions, is laid out too, which changes
    nothing it computes. Weights that share memory with others stay tied, and as they lie; so does what weight norm and
    other parametrizations compute of weights.

    Args:
        model: whose parameters train where they take gradients.
    """
    users = Counter(
        map(_memory, {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}.values())
    )
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dim() == IMAGES and _is_alone(parameter, users):
            # Of one channel `contiguous` finds nothing to do, and the maps would not follow.
            laid_out = torch.empty_like(parameter.data, memory_format=torch.channels_last)
            parameter.data = laid_out.copy_(parameter.data)


def _memory(tensor: Tensor) -> tuple[torch.device, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()


def _is_alone(parameter: nn.Parameter, users: Counter[tuple[torch.device, int]]) -> bool:
    """Return whether no other tensor lies in the memory of a parameter, nor may one that the model does not name."""
    whole = parameter.untyped_storage().nbytes() == parameter.numel() * parameter.element_size()
    return whole and users[_memory(parameter)] == 1

"""One encoder of several images at once, whose codings are told from together."""

import math

from torch import Tensor, nn

from reuse.nn.decoders import coding_shape
from reuse.nn.hidden import HiddenStyle, hidden_linear, initialize


class JointHead(nn.Sequential):
    """`hidden` and `output` over the codings of several images, one behind the other.

    Args:
        encoder: of one image.
        example: one image, `(1, *input_shape)`.
        count: images.
        hidden: units of the hidden layer.
        num_outputs: logits.
    """

    def __init__(self, encoder: nn.Module, example: Tensor, count: int, hidden: int, num_outputs: int) -> None:
        super().__init__()
        features = count * math.prod(coding_shape(encoder, example))
        self.add_module("hidden", hidden_linear(features, hidden, HiddenStyle()))
        output = nn.Linear(hidden, num_outputs)
        initialize(output)
        self.add_module("output", output)


def encode_each(encoder: nn.Module, images: Tensor) -> Tensor:
    """Return the codings of several images a row, one behind the other: `(batch, count · features)`.

    Args:
        encoder: of one image.
        images: `(batch, count, *input_shape)`.
    """
    coding: Tensor = encoder(images.flatten(0, 1))
    return coding.flatten(1).reshape(len(images), -1)

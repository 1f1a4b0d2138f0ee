"""Multilayer perceptrons: `mlp:300,100,50`."""

import math
from collections.abc import Sequence

from torch import nn

from reuse.nn.hidden import HiddenStyle, hidden_linear, input_layers, output_linear


class MLP(nn.Sequential):
    """Dense layers one after the other: `flatten`, `input_dropout` if wanted, `hidden1`, `hidden2`, …, `output`.

    Args:
        input_shape: shape of one sample (behind the embedding, where there is one); it is flattened.
        widths: units of each hidden layer, lowest first.
        num_outputs: units of the output layer, which has no activation.
        style: activation, norm, initial weights and dropout of the hidden layers.
        input_dropout: probability of dropping an input in training.
        embedding: a layer `embedding` in front of all, from tokens to features.

    Takes `(batch, *input_shape)` and returns `(batch, num_outputs)`.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        widths: Sequence[int],
        num_outputs: int,
        style: HiddenStyle | None = None,
        input_dropout: float = 0.0,
        embedding: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if embedding is not None:
            self.add_module("embedding", embedding)
        self.style = style or HiddenStyle()
        self.widths = tuple(widths)
        self.add_module("flatten", nn.Flatten())
        previous = math.prod(input_shape)
        for name, layer in input_layers(previous, self.style, input_dropout).items():
            self.add_module(name, layer)
        for number, width in enumerate(widths, start=1):
            self.add_module(f"hidden{number}", hidden_linear(previous, width, self.style))
            previous = width
        for name, layer in output_linear(previous, num_outputs, self.style).items():
            self.add_module(name, layer)

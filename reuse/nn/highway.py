"""Highway networks: `highway:64,64,64`."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.nn.hidden import HiddenStyle, hidden_dropout, hidden_linear, initialize, input_layers, output_linear

GATE_BIAS = -2.0  # at first a layer carries its inputs to seven eighths; the paper takes -1 to -4 by depth


class HighwayLayer(nn.Module):
    """A dense layer that learns how much of its inputs to pass on: Srivastava et al. 2015.

    y = T(x) · H(x) + (1 - T(x)) · x, where H is an ordinary hidden layer, `transform`, and T a sigmoid layer, `gate`,
    whose bias begins negative (https://arxiv.org/abs/1505.00387).

    Takes and returns `(batch, width)`.
    """

    def __init__(self, width: int, style: HiddenStyle) -> None:
        super().__init__()
        self.transform = hidden_linear(width, width, replace(style, dropout=0.0))
        self.gate = nn.Linear(width, width)
        initialize(self.gate)
        nn.init.constant_(self.gate.bias, GATE_BIAS)
        self.dropout = hidden_dropout(style, style.dropout) or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixture of what the layer makes of its inputs and of the inputs themselves."""
        share = torch.sigmoid(self.gate(x))
        mixture: Tensor = self.dropout(share * self.transform(x) + (1 - share) * x)
        return mixture


class HighwayNet(nn.Sequential):
    """A dense layer to the width of the stack, then highway layers: `flatten`, `hidden1`, `hidden2`, …, `output`.

    Args:
        input_shape: shape of one sample (behind the embedding, where there is one); it is flattened.
        widths: units of each hidden layer, all equal.
        num_outputs: units of the output layer, which has no activation.
        style: activation, norm, initial weights and dropout of the hidden layers.
        input_dropout: probability of dropping an input in training.
        embedding: a layer `embedding` in front of all, from tokens to features.

    Raises:
        UsageError: widths that differ.

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
        if len(set(widths)) > 1:
            text = ",".join(map(str, widths))
            raise UsageError(f"highway layers pass their inputs on, so all are equally wide; {text} was given")
        self.style = style or HiddenStyle()
        self.widths = tuple(widths)
        if embedding is not None:
            self.add_module("embedding", embedding)
        self.add_module("flatten", nn.Flatten())
        num_inputs = math.prod(input_shape)
        for name, layer in input_layers(num_inputs, self.style, input_dropout).items():
            self.add_module(name, layer)
        width = self.widths[0]
        self.add_module("hidden1", hidden_linear(num_inputs, width, self.style))
        for number in range(2, len(self.widths) + 1):
            self.add_module(f"hidden{number}", HighwayLayer(width, self.style))
        for name, layer in output_linear(width, num_outputs, self.style).items():
            self.add_module(name, layer)

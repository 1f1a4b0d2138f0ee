"""Multilayer perceptrons: `mlp:300,100,50`."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from torch import nn

from reuse.nn.hidden import HiddenStyle, hidden_linear, input_layers, output_linear

Stack = Callable[[int, Sequence[int], HiddenStyle], Iterable[nn.Module]]
"""From the number of inputs, the widths and the style to the hidden layers, lowest first."""


def dense_layers(num_inputs: int, widths: Sequence[int], style: HiddenStyle) -> Iterator[nn.Module]:
    """Yield a hidden layer of each width, lowest first."""
    for width in widths:
        yield hidden_linear(num_inputs, width, style)
        num_inputs = width


class MLP(nn.Sequential):
    """Dense layers one after the other: `flatten`, `input_dropout` if wanted, `hidden1`, `hidden2`, …, `output`.

    Args:
        input_shape: shape of one sample (behind the embedding, where there is one); it is flattened.
        widths: units of each hidden layer, lowest first.
        num_outputs: units of the output layer, which has no activation.
        style: activation, norm, initial weights and dropout of the hidden layers.
        input_dropout: probability of dropping an input in training.
        embedding: a layer `embedding` in front of all, from tokens to features.
        stack: what makes the hidden layers; see `reuse.nn.highway.highway_layers` for others than dense ones.

    Attributes:
        has_mirror: whether its layers can be gone through in reverse.

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
        stack: Stack = dense_layers,
    ) -> None:
        super().__init__()
        if embedding is not None:
            self.add_module("embedding", embedding)
        self.style = style or HiddenStyle()
        self.widths = tuple(widths)
        self.has_mirror = stack is dense_layers
        self.add_module("flatten", nn.Flatten())
        num_inputs = math.prod(input_shape)
        for name, layer in input_layers(num_inputs, self.style, input_dropout).items():
            self.add_module(name, layer)
        for number, layer in enumerate(stack(num_inputs, self.widths, self.style), start=1):
            self.add_module(f"hidden{number}", layer)
        highest = [num_inputs, *self.widths][-1]
        for name, layer in output_linear(highest, num_outputs, self.style).items():
            self.add_module(name, layer)

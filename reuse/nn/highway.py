"""Highway networks: `highway:64,64,64`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.nn.hidden import HiddenStyle, hidden_dropout, hidden_linear, initialize

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


def highway_layers(num_inputs: int, widths: Sequence[int], style: HiddenStyle) -> Iterator[nn.Module]:
    """Yield a dense layer to the width of the stack, then highway layers: the hidden layers of an `MLP`.

    Raises:
        UsageError: widths that differ.
    """
    if len(set(widths)) > 1:
        text = ",".join(map(str, widths))
        raise UsageError(f"highway layers pass their inputs on, so all are equally wide; {text} was given")
    yield hidden_linear(num_inputs, widths[0], style)
    yield from (HighwayLayer(width, style) for width in widths[1:])

"""Ladder side networks: a small network that climbs beside a frozen one, rung by rung.

Sung, Cho and Bansal, "LST: Ladder Side-Tuning for Parameter and Memory Efficient Transfer Learning", 2022
(https://arxiv.org/abs/2206.06522). No gradient enters the frozen network, so all that it gives can be computed once.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from reuse.errors import UsageError
from reuse.nn.hidden import initialize
from reuse.nn.tapped import MAP, STEPS, Tapped, picks

LEAST_WIDTH = 8  # of a side network
HEADS = 4  # of attention over steps, where the width can be divided so


class LadderNetwork(nn.Module):
    """A frozen network and a small one beside it, which takes in what each chosen layer gives.

    Rung i, of the kind of what its layer gives (dense, convolutional, attention over steps), computes
    `h_i = block(g f_i + (1 - g) h_(i-1))` from what the layer gives, `f_i`, brought to the width of the side network,
    and from the rung below, with a gate `g = sigmoid(alpha / temperature)` that it learns; the lowest has no gate. The
    output layer reads the features of the frozen network beside the highest rung, so that a linear probe of them is a
    part of what can be learned.

    Args:
        backbone: the frozen network, with the layers that are tapped.
        shapes: of what each layer gives for a row, and of the features last (`Tapped.measure`).
        num_outputs: units of the output layer.
        reduction: how many times narrower than the widest of the layers the side network is, though 8 wide at least.
        temperature: of the gates; the paper's is 0.1.

    Takes what the backbone takes, and returns `(rows, num_outputs)`.
    """

    def __init__(
        self,
        backbone: Tapped,
        shapes: Sequence[tuple[int, ...]],
        num_outputs: int,
        reduction: float = 4.0,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        if reduction <= 0 or temperature <= 0:
            raise UsageError(
                f"a ladder's reduction is {reduction:g} and its temperature {temperature:g}: give numbers above 0"
            )
        *layers, (features,) = shapes
        width = max(LEAST_WIDTH, round(max(map(_channels, layers)) / reduction))
        self.backbone, self.at = backbone, picks(backbone)
        below: Sequence[tuple[int, ...] | None] = [None, *layers[:-1]]
        self.rungs = nn.ModuleList(
            Rung(shape, under, width, temperature) for shape, under in zip(layers, below, strict=True)
        )
        self.norm = _norm(layers[-1], width)
        self.output = nn.Linear(features + width * math.prod(_grid(layers[-1])), num_outputs)
        initialize(self.output)
        self._same = max(backbone.repeats, default=None)  # the layer that gives the very features: both cross as one

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs for some rows."""
        tapped = self.backbone(inputs)
        *layers, features = [pick(tapped) for pick in self.at.values()]
        features = features if self._same is None else layers[self._same].flatten(1)
        height = self.rungs[0](layers[0])
        for rung, layer in zip(self.rungs[1:], layers[1:], strict=True):
            height = rung(layer, height)
        outputs: Tensor = self.output(torch.cat([features, self.norm(height).flatten(1)], dim=1))
        return outputs


class Rung(nn.Module):
    """One rung: what a layer gives, and what the rung below says, gated, and a block behind.

    Args:
        shape: of what the layer gives for a row.
        below: of what the layer of the rung below gives; None: this is the lowest.
        width: of the side network.
        temperature: of the gate.
    """

    def __init__(self, shape: tuple[int, ...], below: tuple[int, ...] | None, width: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.norm, self.down = _norm(shape, _channels(shape)), _linear(shape, _channels(shape), width)
        self.block = _BLOCKS[len(shape) + 1](width)
        if below is not None:
            self.alpha = nn.Parameter(torch.zeros(()))
            self.fit = Resampled(below, shape)

    def forward(self, tapped: Tensor, below: Tensor | None = None) -> Tensor:
        """Return what this rung says.

        Args:
            tapped: what the layer gives.
            below: what the rung below says; None: this is the lowest.
        """
        reduced = self.down(self.norm(tapped))
        if below is not None:
            gate = torch.sigmoid(self.alpha / self.temperature)
            reduced = gate * reduced + (1 - gate) * self.fit(below)
        height: Tensor = self.block(reduced)
        return height


class Resampled(nn.Module):
    """Values in the places of one layer, brought to those of the next: by means over places that lie near each other.

    Args:
        below: what the one gives for a row.
        shape: what the next gives.
    """

    def __init__(self, below: tuple[int, ...], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.below, self.kind = len(below) + 1, len(shape) + 1
        self.places = _grid(shape)
        self.is_same = self.below == self.kind and _grid(below) == self.places

    def forward(self, values: Tensor) -> Tensor:
        """Return `(rows, …)` with the places of the next layer."""
        if self.is_same:
            return values
        if self.below == self.kind == MAP:
            return functional.adaptive_avg_pool2d(values, (self.places[0], self.places[1]))
        if self.below == self.kind == STEPS:
            return functional.adaptive_avg_pool1d(values.transpose(1, 2), self.places).transpose(1, 2)
        mean = {MAP: (2, 3), STEPS: (1,)}.get(self.below)
        values = values if mean is None else values.mean(mean)
        return values[:, :, None, None] if self.kind == MAP else values[:, None] if self.kind == STEPS else values


class ResidualBlock(nn.Module):
    """Two layers beside a skip, which is all that the block is at first.

    Args:
        norm: of what comes in.
        hidden: the first layer.
        back: the second, of the same width.
    """

    def __init__(self, norm: nn.Module, hidden: nn.Linear | nn.Conv2d, back: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.norm, self.hidden, self.back = norm, hidden, back
        _initialize(hidden, back)

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        change: Tensor = self.back(functional.gelu(self.hidden(self.norm(values))))
        return values + change


def dense_block(width: int) -> ResidualBlock:
    """Return two dense layers, over vectors or over each step by itself: `(…, width)`."""
    return ResidualBlock(nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width))


def conv_block(width: int) -> ResidualBlock:
    """Return two 3×3 convolutions of maps `(rows, width, height, width)`."""
    hidden, back = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
    return ResidualBlock(nn.GroupNorm(1, width), hidden, back)


class AttentionBlock(nn.Module):
    """Attention over steps and a dense block, each beside a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(HEADS, 0, -1) if width % heads == 0)
        self.norm, self.asked, self.back = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = dense_block(width)
        _initialize(self.asked, self.back)

    def forward(self, values: Tensor) -> Tensor:
        """Return `(rows, steps, width)`."""
        asked = self.asked(self.norm(values)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(asked[0], asked[1], asked[2])
        mixed: Tensor = self.dense(values + self.back(found.transpose(1, 2).flatten(2)))
        return mixed


_BLOCKS: dict[int, Callable[[int], nn.Module]] = {2: dense_block, STEPS: AttentionBlock, MAP: conv_block}
"""Blocks by the dimensions of a batch."""


def _channels(shape: tuple[int, ...]) -> int:
    return shape[0] if len(shape) + 1 == MAP else shape[-1]


def _grid(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if len(shape) + 1 == MAP else shape[:-1]


def _norm(shape: tuple[int, ...], width: int) -> nn.Module:
    return nn.GroupNorm(1, width) if len(shape) + 1 == MAP else nn.LayerNorm(width)


def _linear(shape: tuple[int, ...], channels: int, width: int) -> nn.Module:
    layer = nn.Conv2d(channels, width, 1) if len(shape) + 1 == MAP else nn.Linear(channels, width)
    initialize(layer)
    return layer


def _initialize(hidden: nn.Linear | nn.Conv2d, back: nn.Linear | nn.Conv2d) -> None:
    """Let a block begin as its skip alone."""
    initialize(hidden)
    nn.init.zeros_(back.weight)
    if back.bias is not None:
        nn.init.zeros_(back.bias)

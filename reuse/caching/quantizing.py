"""Storing values in 8 bits: each channel of each block of rows has a scale and an offset of its own.

A value x becomes a code q = round((x - low) / step) - 128, a whole number from -128 to 127, and comes back as
(q + 128) step + low, where low and step = (high - low) / 255 come from the smallest and the largest value of the
channel in the block: affine quantisation as in Jacob et al. (2018), https://arxiv.org/abs/1712.05877, with the offset
kept as a value, so that the smallest one (a ReLU's zero) comes back exactly. The range is that of the very rows that
are stored, so nothing is clipped, and rows that are written later, with another range, leave it alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor

CODES = 255  # steps between the smallest and the largest code
LOWEST = -128


@dataclass(frozen=True)
class QuantizedTensor(FrontierTensor):
    """A frontier tensor that is stored as 8-bit codes; its `dtype` is that of the codes."""

    @property
    def channel_shape(self) -> tuple[int, ...]:
        """The shape of one scale for each channel, which broadcasts over a row."""
        axis = channel_axis(self.shape)
        return tuple(size if dimension == axis else 1 for dimension, size in enumerate(self.shape))

    @property
    def channels(self) -> int:
        """How many scales a block of rows has."""
        return prod(self.channel_shape)


def quantized(frontier: Iterable[FrontierTensor]) -> list[QuantizedTensor]:
    """Return the tensors that are stored in 8 bits, in order."""
    return [tensor for tensor in frontier if isinstance(tensor, QuantizedTensor)]


def channel_axis(shape: tuple[int, ...]) -> int:
    """Return which dimension of a row has a scale for each of its places.

    The first of maps `(channels, height, width)` and volumes, the last of vectors, of sequences `(tokens, width)` and
    of square maps with the channels at the end, `(height, height, channels)`.
    """
    at_the_end = len(shape) == 3 and shape[0] == shape[1] != shape[2]
    return 0 if len(shape) >= 3 and not at_the_end else len(shape) - 1


def quantize(values: Tensor, tensor: QuantizedTensor) -> tuple[Tensor, Tensor]:
    """Return the codes of a block, `(rows, …)` int8, and its table, `(2, channels)` float32: low and step.

    Args:
        values: `(rows, …)`, one row or more.
        tensor: what is stored.

    Raises:
        CacheError: a value is not finite, or a range is too large for float32.
    """
    table = _table(values, tensor)
    if not bool(table.isfinite().all()):
        reach = f"reach {values.abs().max().item():.3g}"
        raise CacheError(f"activations of {tensor.name} {reach} and do not fit int8: leave cache-dtype out")
    low, step = (part.reshape(tensor.channel_shape).to(_wide(values.dtype)) for part in table)
    codes = (values.to(low.dtype) - low).div_(torch.where(step == 0, 1, step))
    return codes.round_().clamp_(0, CODES).add_(LOWEST).to(torch.int8), table


def dequantize(codes: Tensor, low: Tensor, step: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the values that codes stand for.

    Args:
        codes: `(rows, …)` int8.
        low: float32, broadcasting over the codes.
        step: as `low`.
        dtype: of the result; float16 and bfloat16 are computed in float32.
    """
    wide = _wide(dtype)
    return codes.to(wide).sub_(LOWEST).mul_(step.to(wide)).add_(low.to(wide)).to(dtype)


def _table(values: Tensor, tensor: QuantizedTensor) -> Tensor:
    axis = channel_axis(tensor.shape) + 1 if tensor.shape else 0
    others = [dimension for dimension in range(values.dim()) if dimension != axis or not tensor.shape]
    if not values.numel():
        return torch.zeros(2, tensor.channels)
    low, high = (part.reshape(-1).double() for part in (values.amin(others), values.amax(others)))
    return torch.stack([low, (high - low) / CODES]).float()


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32

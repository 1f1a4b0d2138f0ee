"""Storing activations in fewer bits, where the user asks for it: in another type, or as 8-bit codes.

A value x becomes a code q = round((x - low) / step) - 128, a whole number from -128 to 127, and comes back as
(q + 128) step + low. Each channel of each block of rows has its own low and step = (high - low) / 255, from the
smallest and the largest value of the channel in the block: affine quantisation as in Jacob et al. (2018),
https://arxiv.org/abs/1712.05877, with the offset kept as a value, so that the smallest one (a ReLU's zero) comes back
exactly. The range is that of the very rows that are stored, so nothing is clipped, and rows that are written later,
with another range, leave it alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod, sqrt

import torch
from torch import Tensor

from reuse.devices import dtype_name
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.menus import lookup

STORAGE_TYPES: dict[str, torch.dtype] = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}
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
        """The number of scales of a block of rows."""
        return prod(self.channel_shape)


@dataclass(frozen=True)
class StorageError:
    """Rounding error of a tensor that is stored in another type, measured on a sample of rows.

    Attributes:
        name: of the frontier tensor.
        dtype: in which it is stored.
        relative: size (Euclidean norm) of all errors together, as a part of the size of all values.
        largest: the largest size of the errors of one row, as a part of the root mean square size of a row.
    """

    name: str
    dtype: str
    relative: float
    largest: float

    def __str__(self) -> str:
        return (
            f"{self.name} as {self.dtype}: relative error {_percent(self.relative)}, largest {_percent(self.largest)}"
        )


def choose_storage(name: str) -> torch.dtype:
    """Return the type called `name`, in which activations can be stored; `int8` means codes with scales."""
    return lookup(STORAGE_TYPES, name, "cache-dtype")


def packed(frontier: Sequence[FrontierTensor], dtype: str | None) -> tuple[FrontierTensor, ...]:
    """Return the frontier as it is stored: floating-point tensors in the type asked for, all others as they are.

    Args:
        frontier: as computed.
        dtype: a name of `STORAGE_TYPES`; None: as computed.
    """
    if dtype is None:
        return tuple(frontier)
    chosen = choose_storage(dtype)
    return tuple(_packed(tensor, chosen) if tensor.dtype.is_floating_point else tensor for tensor in frontier)


def narrow(values: Tensor, stored: FrontierTensor) -> Tensor:
    """Return values in the type in which they are stored (another than 8 bits), if they fit.

    Raises:
        CacheError: a finite value would become infinite.
    """
    if values.dtype == stored.dtype:
        return values
    fewer = values.to(stored.dtype)
    if not _are_extremes_finite(values, stored.dtype) and not bool((fewer.isfinite() | ~values.isfinite()).all()):
        raise CacheError(
            f"activations of {stored.name} reach {values.abs().max().item():.3g} and do not fit "
            f"{dtype_name(stored.dtype)}: use bfloat16, or leave cache-dtype out"
        )
    return fewer


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


def errors_between(
    values: Sequence[Tensor],
    restored: Sequence[Tensor],
    frontier: Sequence[FrontierTensor],
    stored: Sequence[FrontierTensor],
) -> list[StorageError]:
    """Return the error of each tensor that is stored in another type than it was computed in.

    Args:
        values: as computed, each `(rows, …)`.
        restored: as they come back, in the same types and on the same device.
        frontier: what was computed of a row.
        stored: what is stored of a row.
    """
    errors = []
    for old, new, computed, kept in zip(values, restored, frontier, stored, strict=True):
        if kept.dtype != computed.dtype and old.numel():
            wide = old.detach().cpu().double().reshape(len(old), -1)
            differences = (new.detach().cpu().double().reshape(len(old), -1) - wide).norm(dim=1)
            size = max(float(wide.norm()), torch.finfo(torch.float64).tiny)  # zeros come back as zeros: 0 / tiny
            relative, largest = float(differences.norm()) / size, float(differences.max()) * sqrt(len(old)) / size
            errors.append(StorageError(computed.name, dtype_name(kept.dtype), relative, largest))
    return errors


def _packed(tensor: FrontierTensor, dtype: torch.dtype) -> FrontierTensor:
    if dtype == torch.int8:
        return QuantizedTensor(tensor.name, tuple(tensor.shape), dtype)
    return replace(tensor, dtype=dtype)


def _are_extremes_finite(values: Tensor, dtype: torch.dtype) -> bool:
    """Return whether the smallest and the largest value are finite in a type, and so all: in a tenth of the time."""
    return not values.numel() or bool(torch.stack(values.aminmax()).to(dtype).isfinite().all())


def _table(values: Tensor, tensor: QuantizedTensor) -> Tensor:
    axis = channel_axis(tensor.shape) + 1 if tensor.shape else 0
    others = [dimension for dimension in range(values.dim()) if dimension != axis or not tensor.shape]
    if not values.numel():
        return torch.zeros(2, tensor.channels)
    low, high = (part.reshape(-1).double() for part in (values.amin(others), values.amax(others)))
    return torch.stack([low, (high - low) / CODES]).float()


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %"

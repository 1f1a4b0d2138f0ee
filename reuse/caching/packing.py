"""From what frozen layers compute to what is stored, in fewer bits where the user asks for it, and what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import torch
from torch import Tensor

from reuse.caching.quantizing import QuantizedTensor, dequantize, quantize
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


@dataclass(frozen=True)
class StorageError:
    """What storing a tensor in another type costs, measured on a sample of rows.

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


def _are_extremes_finite(values: Tensor, dtype: torch.dtype) -> bool:
    """Return whether the smallest and the largest value are finite in a type, and so all: in a tenth of the time."""
    return not values.numel() or bool(torch.stack(values.aminmax()).to(dtype).isfinite().all())


def storage_errors(values: Sequence[Tensor], frontier: Sequence[FrontierTensor], dtype: str) -> list[StorageError]:
    """Return what storing `values` as `dtype` would cost, for each floating-point tensor that is not of that type.

    In 8 bits, the range of a sample is a little smaller than that of the block of rows which is stored, and so is the
    error; `PrefixCache.storage_errors` measures rows that are stored.

    Args:
        values: what the frozen layers computed for some rows, each `(rows, …)`.
        frontier: what a row holds.
        dtype: a name of `STORAGE_TYPES`.

    Raises:
        CacheError: a value does not fit the type.

    Example:
        >>> (error,) = storage_errors([torch.tensor([[1.0, 3.0]])], [FrontierTensor("x", (2,), torch.float32)], "int8")
        >>> str(error)
        'x as int8: relative error 0 %, largest 0 %'
    """
    stored = packed(frontier, dtype)
    there_and_back = [_there_and_back(some.cpu(), tensor) for some, tensor in zip(values, stored, strict=True)]
    return errors_between(values, there_and_back, frontier, stored)


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


def _there_and_back(values: Tensor, stored: FrontierTensor) -> Tensor:
    if not isinstance(stored, QuantizedTensor):
        return narrow(values, stored).to(values.dtype)
    codes, table = quantize(values, stored)
    low, step = (part.reshape(stored.channel_shape) for part in table)
    return dequantize(codes, low, step, values.dtype)


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %"

"""Layout of torch's types in a file, and the bytes that a row takes there."""

from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from reuse.devices import dtype_name
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor

HUGE_BYTES = 2**22  # from so many on NumPy asks for huge pages
ALIGNMENT = 64  # bytes, as torch has it

# bfloat16 and bool have no counterpart in HDF5 that every reader knows: their bits are stored as unsigned integers.
STORAGE: dict[str, str] = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "<u2",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "|i1",
    "uint8": "|u1",
    "bool": "|u1",
    "complex64": "<c8",
    "complex128": "<c16",
}


def storage_of(tensor: FrontierTensor) -> np.dtype[np.generic]:
    """Return the NumPy type that holds the bits of a frontier tensor in the file.

    Raises:
        CacheError: the type cannot be stored.
    """
    name = dtype_name(tensor.dtype)
    if name not in STORAGE:
        raise CacheError(f"frontier tensor {tensor.name!r} is {name}, which cannot be cached: use {', '.join(STORAGE)}")
    return np.dtype(STORAGE[name])


def row_bytes(frontier: Sequence[FrontierTensor]) -> int:
    """Return the bytes of one row of all tensors together, without its 16-byte row key."""
    return sum(tensor.row_bytes for tensor in frontier)


def describe(frontier: Sequence[FrontierTensor]) -> str:
    """Return the frontier in words, for messages."""
    return "; ".join(str(tensor) for tensor in frontier)


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, pinned: bool = False) -> torch.Tensor:
    """Return an uninitialised tensor of `shape`.

    Large ones are memory of NumPy, which asks Linux for huge pages, as torch does not: to read into it for the first
    time takes half as long.
    """
    if device.type != "cpu" or pinned or prod(shape) * dtype.itemsize < HUGE_BYTES:
        return torch.empty(shape, dtype=dtype, device=device, pin_memory=pinned)
    memory = np.empty(prod(shape) * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return torch.from_numpy(memory[start : len(memory) - ALIGNMENT + start]).view(dtype).reshape(shape)


def from_storage(values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """Return stored bits as a tensor of `dtype` that shares their memory."""
    if dtype == torch.bfloat16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    if dtype == torch.bool:
        return torch.from_numpy(values).view(torch.bool)
    return torch.from_numpy(values)


def to_storage(values: torch.Tensor) -> np.ndarray:
    """Return the bits of a tensor on the CPU as they lie in a file, sharing their memory."""
    if values.dtype == torch.bfloat16:
        return values.view(torch.int16).numpy().view(np.uint16)
    return values.view(torch.uint8).numpy() if values.dtype == torch.bool else values.numpy()

"""Tensors and arrays as text: type, shape and a digest of their values, at memory speed."""

import numpy as np
import torch
from xxhash import xxh3_128_hexdigest

from reuse.devices import dtype_name
from reuse.errors import CacheError


def tensor_text(tensor: torch.Tensor) -> str:
    """Return type, shape and digest of a tensor's values; strides, device, gradients and names do not matter.

    Raises:
        CacheError: the tensor has no plain values (meta, sparse, uninitialised).
    """
    try:
        plain = tensor.detach().to("cpu").resolve_conj().resolve_neg().contiguous()
        values = plain.reshape(-1).view(torch.uint8).numpy() if plain.numel() else np.empty(0, np.uint8)
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CacheError(
            f"a {tensor.layout} tensor on {tensor.device} cannot be part of a cache key ({reason})"
        ) from error
    return f"{dtype_name(tensor.dtype)} {tuple(tensor.shape)} {xxh3_128_hexdigest(values.data)}"


def array_text(array: np.ndarray) -> str:
    """Return type, shape and digest of a NumPy array's values."""
    values = np.ascontiguousarray(array)
    return f"array {array.dtype.str} {array.shape} {xxh3_128_hexdigest(values.tobytes())}"

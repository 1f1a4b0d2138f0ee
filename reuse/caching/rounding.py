"""Rounding: how far apart two computations of the same numbers may be."""

import torch

# Largest difference that counts as equal, as a part of the largest stored value: batch sizes and kernels change the
# order of sums. Types that are not listed must be equal.
TOLERANCES: dict[torch.dtype, float] = {
    torch.float64: 1e-9,
    torch.complex128: 1e-9,
    torch.float32: 1e-3,
    torch.complex64: 1e-3,
    torch.float16: 2e-2,
    torch.bfloat16: 2e-2,
}

"""Comparing stored rows with what the prefix computes now: the last guard against a key that says too little."""

from collections.abc import Sequence

import torch

from reuse.caching.computing import checked
from reuse.devices import dtype_name
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor

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


def compare(
    prefix_key: str,
    frontier: Sequence[FrontierTensor],
    stored: Sequence[torch.Tensor],
    computed: Sequence[torch.Tensor],
) -> None:
    """Check that `computed` equals `stored`, each `(rows, …)`, within the tolerance of its type.

    Raises:
        CacheError: it does not; the message names the tensor, the difference and the tolerance.
    """
    for tensor, old, new in zip(frontier, stored, checked(computed, frontier, len(stored[0])), strict=True):
        difference, allowed = _difference(old, new.to("cpu")), _allowed(old)
        if not difference <= allowed:
            raise CacheError(
                f"cached rows of {tensor.name!r} ({dtype_name(tensor.dtype)}) differ from what the frozen layers "
                f"compute now by {difference:.3g} (at most {allowed:.3g} is rounding): they depend on something that "
                f"the prefix key {prefix_key} does not see, such as random numbers or state outside the model. Train "
                f"without a cache (--no-cache), or remove these rows with `reuse cache clear {prefix_key}` if the "
                "cause is gone"
            )


def _difference(old: torch.Tensor, new: torch.Tensor) -> float:
    wide = torch.complex128 if old.is_complex() else torch.float64
    # Equal infinities subtract to NaN, and NaN equals NaN here: both mean that nothing changed.
    same = (old == new) | (old.isnan() & new.isnan())
    differences = (old.to(wide) - new.to(wide)).abs().nan_to_num(nan=torch.inf)
    # Large integers can differ by less than float64 shows: no two unequal values count as equal.
    differences = differences.clamp_min(torch.finfo(torch.float64).tiny).masked_fill(same, 0)
    return float(differences.max()) if differences.numel() else 0.0


def _allowed(old: torch.Tensor) -> float:
    if old.dtype not in TOLERANCES or not old.numel():
        return 0.0
    sizes = old.to(torch.complex128 if old.is_complex() else torch.float64).abs()
    finite = sizes.masked_fill(~sizes.isfinite(), 0)
    return TOLERANCES[old.dtype] * float(finite.max()) + torch.finfo(old.dtype).eps

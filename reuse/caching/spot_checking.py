"""Comparing stored rows with what the prefix computes now: the last guard against a key that says too little."""

from collections.abc import Sequence

import torch
from torch import Tensor

from reuse.caching.computing import checked
from reuse.caching.packing import QuantizedTensor
from reuse.devices import dtype_name
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


def advice_on(found: str, prefix_key: str) -> str:
    """Return a difference with what it comes from and what to do."""
    return (
        f"{found}: they depend on something that the prefix key {prefix_key} does not see, such as random numbers or "
        f"state outside the model. Train without a cache (--no-cache), or remove these rows with `reuse cache clear "
        f"{prefix_key}` if the cause is gone"
    )


def difference(
    frontier: Sequence[FrontierTensor],
    old: Sequence[Tensor],
    computed: Sequence[Tensor],
    stored: Sequence[FrontierTensor] | None = None,
    steps: Sequence[Tensor | None] | None = None,
) -> str | None:
    """Return in words how `computed` differs from `old`, each `(rows, …)`; None where it is by rounding alone.

    Args:
        frontier: what is computed of a row.
        old: what was stored, in the types of `frontier`.
        computed: what the prefix computes now.
        stored: what is stored of a row; by default what is computed.
        steps: how far apart neighbouring 8-bit codes are, broadcasting over `old`; half of it is rounding.
    """
    kept, widths = frontier if stored is None else stored, [None] * len(old) if steps is None else steps
    new = checked(computed, frontier, len(old[0]))
    for tensor, dtype, was, now, step in zip(frontier, map(_dtype, kept, frontier), old, new, widths, strict=True):
        apart, allowed = _difference(was, now.to("cpu"), step), _allowed(was, dtype)
        if not apart <= allowed:
            return (
                f"cached rows of {tensor.name!r} ({dtype_name(tensor.dtype)}) differ from what the frozen layers "
                f"compute now by {apart:.3g} (at most {allowed:.3g} is rounding)"
            )
    return None


def _dtype(stored: FrontierTensor, computed: FrontierTensor) -> torch.dtype:
    """Return the type whose tolerance holds; the rounding of codes is known and taken off before."""
    return computed.dtype if isinstance(stored, QuantizedTensor) else stored.dtype


def _difference(old: Tensor, new: Tensor, step: Tensor | None) -> float:
    wide = torch.complex128 if old.is_complex() else torch.float64
    # Equal infinities subtract to NaN, and NaN equals NaN here: both mean that nothing changed.
    same = (old == new) | (old.isnan() & new.isnan())
    differences = (old.to(wide) - new.to(wide)).abs().nan_to_num(nan=torch.inf)
    if step is not None:
        differences = (differences - step.double() / 2).clamp_min(0)
    # Large integers can differ by less than float64 shows: no two unequal values count as equal.
    differences = differences.clamp_min(torch.finfo(torch.float64).tiny).masked_fill(same, 0)
    return float(differences.max()) if differences.numel() else 0.0


def _allowed(old: Tensor, dtype: torch.dtype) -> float:
    if dtype not in TOLERANCES or not old.numel():
        return 0.0
    sizes = old.to(torch.complex128 if old.is_complex() else torch.float64).abs()
    finite = sizes.masked_fill(~sizes.isfinite(), 0)
    return TOLERANCES[dtype] * float(finite.max()) + torch.finfo(dtype).eps

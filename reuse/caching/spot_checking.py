"""Comparing what is stored with what the prefix computes now: the last guard against a key that says too little."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reuse.caching.computing import ComputeRows, checked
from reuse.caching.packing import QuantizedTensor, StorageError, errors_between
from reuse.caching.probe_record import read_probe
from reuse.caching.probing import RunPrefix
from reuse.caching.probing import difference as probe_difference
from reuse.caching.rounding import TOLERANCES
from reuse.caching.store import CPU, PrefixCache
from reuse.devices import dtype_name
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor


def mismatch(
    cache: PrefixCache,
    keys: np.ndarray,
    compute: ComputeRows,
    run: RunPrefix,
    *,
    device: torch.device = CPU,
    layout: str = "",
    rows: int = 4,
    seed: int | None = None,
) -> str | None:
    """Return in words how what is stored differs from what the prefix computes now, None where it does not.

    The probe is computed again, and a few random rows.

    Args:
        cache: of the prefix.
        keys: digests of the rows of a split, (n, 16) uint8; those that are not published are left out.
        compute: as for `PrefixCache.fill`.
        run: computes the prefix of any inputs.
        device: where it does.
        layout: of its weights; see `reuse.caching.probing.layout_of`.
        rows: how many rows to compare.
        seed: which; drawn anew each time by default.
    """
    kept = read_probe(cache.path)
    found = None if kept is None else probe_difference(kept, run, device, layout)
    return found or row_difference(cache, keys, compute, rows, seed)


def spot_check(
    cache: PrefixCache, keys: np.ndarray, compute: ComputeRows, *, rows: int = 4, seed: int | None = None
) -> None:
    """Compute a few random stored rows again and compare.

    Args:
        cache: as for `mismatch`.
        keys: as for `mismatch`.
        compute: as for `mismatch`.
        rows: as for `mismatch`.
        seed: as for `mismatch`.

    Raises:
        CacheError: a stored row is not what the prefix computes now; all of them are set aside for good.
    """
    found = row_difference(cache, keys, compute, rows, seed)
    if found is not None:
        cache.quarantine(found)
        raise CacheError(advice_on(found, cache.key))


def storage_errors(
    cache: PrefixCache, keys: np.ndarray, compute: ComputeRows, *, rows: int = 32, seed: int | None = None
) -> list[StorageError]:
    """Compute a few random stored rows again and return the errors of what is stored.

    Args:
        cache: as for `mismatch`.
        keys: as for `mismatch`.
        compute: as for `mismatch`.
        rows: how many rows are computed.
        seed: as for `mismatch`.

    Returns:
        One error for each tensor that is stored in another type than it is computed in; none without any rows.
    """
    if cache.stored == cache.frontier:
        return []
    some = cache.some_rows(keys, rows, seed)
    if not len(some.positions):
        return []
    values = checked(compute(some.positions), cache.frontier, len(some.positions))
    return errors_between(values, some.values, cache.frontier, cache.stored)


def row_difference(
    cache: PrefixCache, keys: np.ndarray, compute: ComputeRows, rows: int, seed: int | None = None
) -> str | None:
    """Return in words how a few random stored rows differ from what `compute` gives now, None where they do not."""
    some = cache.some_rows(keys, rows, seed)
    if not len(some.positions):
        return None
    return difference(cache.frontier, some.values, compute(some.positions), cache.stored, some.steps)


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

"""Stored rows beside what the prefix computes now: the probe and a few random rows are computed again and compared."""

import numpy as np
import torch

from reuse.caching.computing import ComputeRows, checked
from reuse.caching.packing import StorageError, errors_between
from reuse.caching.probe_record import read_probe
from reuse.caching.probing import RunPrefix
from reuse.caching.probing import difference as probe_difference
from reuse.caching.spot_checking import advice_on, difference
from reuse.caching.store import CPU, PrefixCache
from reuse.errors import CacheError


def mismatch(
    cache: PrefixCache,
    keys: np.ndarray,
    compute: ComputeRows,
    run: RunPrefix,
    *,
    device: torch.device = CPU,
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
        rows: how many rows to compare.
        seed: which; drawn anew each time by default.
    """
    kept = read_probe(cache.path)
    found = None if kept is None else probe_difference(kept, run, device)
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

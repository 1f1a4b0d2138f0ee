"""The lookup of features: which rows of a cut are in the cache, and what spares the others some of their layers."""

from dataclasses import dataclass

import numpy as np

from reuse.augmenting.views import Viewing
from reuse.caching.cache import ActivationCache
from reuse.caching.chaining import Link, PrefixCaches, bridges, find_link
from reuse.caching.store import PrefixCache
from reuse.caching.taking_up import take_up
from reuse.data.dataset import SPLITS, Dataset
from reuse.devices import Compute
from reuse.distributed import world_size
from reuse.fingerprinting.fingerprint import Fingerprint
from reuse.layers.parts import Cut
from reuse.paths import cache_folder
from reuse.settings.caching import StoringSettings


@dataclass(frozen=True)
class RowKeys:
    """The keys of all rows that a phase reads, each `(rows, 16)` uint8.

    Attributes:
        splits: of each split.
        changed: of each version of the training rows that is there when the phase begins.
        coming: of each version that comes later.
    """

    splits: dict[str, np.ndarray]
    changed: tuple[np.ndarray, ...] = ()
    coming: tuple[np.ndarray, ...] = ()

    @property
    def first(self) -> np.ndarray:
        """The keys of all rows that are read first."""
        return np.concatenate([*self.splits.values(), *self.changed])

    @property
    def all(self) -> np.ndarray:
        """The keys of all rows, those of versions that come later too."""
        return np.concatenate([self.first, *self.coming])


@dataclass(frozen=True)
class Lookup:
    """The contents of the cache for a cut.

    Attributes:
        keys: of all rows that are read.
        caches: of the prefixes of the model.
        fingerprint: of the prefix.
        store: where its activations are or will be.
        missing: keys of the rows that it lacks, `(rows, 16)` uint8.
        link: an earlier cut whose stored activations the missing ones are computed from; None where there is none.
    """

    keys: RowKeys
    caches: PrefixCaches
    fingerprint: Fingerprint
    store: PrefixCache
    missing: np.ndarray
    link: Link | None


def key_rows(data: Dataset, viewing: Viewing | None) -> RowKeys:
    """Return the keys of all rows: digests of their contents, read once."""
    splits = {name: getattr(data, name).inputs.digests() for name in SPLITS}
    if viewing is None:
        return RowKeys(splits)
    changed = tuple(inputs.digests() for inputs in viewing.changed.values())
    return RowKeys(splits, changed, tuple(inputs.digests() for inputs in viewing.later.values()))


def open_caches(storing: StoringSettings, data: Dataset, compute: Compute, model: str) -> PrefixCaches:
    """Return the caches of the prefixes of a model.

    Args:
        storing: where they are.
        data: whose preprocessing belongs to what is computed.
        compute: where and in which types.
        model: the name of its class, which people are told.
    """
    opened = ActivationCache(cache_folder(storing.cache_dir), storing.cache_budget)
    given = data.preprocessing.computing
    if data.preprocessing.kind == "sequences":  # the only kind that does not say how long rows are
        given |= {"input_shape": list(data.input_shape)}
    return PrefixCaches(opened, given, compute, {"model": model, "data": data.name})


def look_up(parts: Cut, keys: RowKeys, caches: PrefixCaches, dtype: str | None) -> Lookup:
    """Return what the cache holds of some rows for a cut.

    Args:
        parts: the cut.
        keys: of the rows.
        caches: of the prefixes of the model.
        dtype: in which type activations are stored; None: as computed.
    """
    prints = caches.print_of(parts.prefix, parts.frontier, dtype)
    store = caches.with_print(prints, parts.frontier, dtype)
    if world_size() == 1:  # of several processes the one that fills does it, so that all count the same rows
        take_up(store.path)
    first = keys.first
    missing = first[store.missing(first)]
    link = find_link(bridges(parts.earlier), caches.of, missing) if caches.known else None
    return Lookup(keys, caches, prints, store, missing, link)

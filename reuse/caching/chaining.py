"""Caches of the prefixes of one model: what an earlier cut has stored spares a deeper one the layers before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from reuse.caching.activations import Activations
from reuse.caching.cache import ActivationCache
from reuse.caching.computing import ComputeRows
from reuse.caching.damage import DamageError
from reuse.caching.packing import packed
from reuse.caching.probing import Probe
from reuse.caching.segment import FORMAT
from reuse.caching.store import Filled, PrefixCache
from reuse.devices import Compute
from reuse.fingerprinting.blocks import Blocks
from reuse.fingerprinting.fingerprint import Fingerprint, fingerprint
from reuse.layers.earlier import EarlierCut, bridge_between
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.layers.preparing import prepared

Stored = tuple[FrontierTensor, ...]

RunBridge = Callable[[fx.GraphModule, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""Function that calls a bridge on a batch of the earlier frontier and returns the deeper one."""

Opener = Callable[[fx.GraphModule, tuple[FrontierTensor, ...]], PrefixCache]
"""Function that takes a prefix and its frontier, and returns its cache."""


class PrefixCaches:
    """The caches of the prefixes of a model.

    Args:
        opened: the cache.
        preprocessing: of the data, which belongs to what is computed.
        compute: where and in which types.
        description: names of the model and the data, which people are told.

    Attributes:
        opened: the cache.
        known: whether there is one on the disk.
    """

    def __init__(
        self,
        opened: ActivationCache,
        preprocessing: Mapping[str, Any],
        compute: Compute,
        description: Mapping[str, str],
    ) -> None:
        self.opened, self.known = opened, opened.root.is_dir()
        self._preprocessing, self._compute, self._description = preprocessing, compute, description

    def print_of(
        self, prefix: fx.GraphModule, frontier: Stored, stored_as: str | None = None, blocks: Blocks | None = None
    ) -> Fingerprint:
        """Return what the key of a prefix is made of.

        Args:
            prefix: the prefix.
            frontier: what it hands on.
            stored_as: the type in which that is stored; None: as computed.
            blocks: parts that it shares with other prefixes.
        """
        types = {f"stored/{tensor.name}": str(tensor.dtype) for tensor in packed(frontier, stored_as)}
        dtype = torch.bfloat16 if self._compute.precision == "bfloat16" else self._compute.dtype
        preprocessing = {**self._preprocessing, **types}
        device = self._compute.device
        with prepared(prefix, self._compute):
            return fingerprint(
                prefix, preprocessing=preprocessing, dtype=dtype, device=device, cache_format=FORMAT, blocks=blocks
            )

    def with_print(self, prints: Fingerprint, frontier: Stored, stored_as: str | None = None) -> PrefixCache:
        """Return the cache of the prefix with this fingerprint."""
        names = ", ".join(f.name for f in frontier)
        return self.opened.open(prints, frontier, {**self._description, "frontier": names}, stored_as)

    def of(self, prefix: fx.GraphModule, frontier: Stored, stored_as: str | None = None) -> PrefixCache:
        """Return the cache of a prefix."""
        return self.with_print(self.print_of(prefix, frontier, stored_as), frontier, stored_as)


@dataclass(frozen=True)
class Link:
    """An earlier frontier that is in the cache, for some rows.

    Attributes:
        store: its cache.
        bridge: takes the earlier frontier, returns the deeper one.
        earlier: its cut.
        rows: the number of its rows among those that the deeper cache lacks.
    """

    store: PrefixCache
    bridge: fx.GraphModule
    earlier: EarlierCut
    rows: int


def bridges(candidates: Sequence[EarlierCut], to: EarlierCut | None = None) -> list[tuple[EarlierCut, fx.GraphModule]]:
    """Return earlier cuts with the bridges from them to the deepest cut, or to the one given.

    Args:
        candidates: in the order in which they are to be tried.
        to: an earlier cut itself; those from which it cannot be reached are left out.
    """
    if to is None:
        return [(earlier, earlier.bridge) for earlier in candidates]
    reaching = [(earlier, bridge_between(earlier, to)) for earlier in candidates]
    return [(earlier, bridge) for earlier, bridge in reaching if bridge is not None]


def find_link(
    candidates: Sequence[tuple[EarlierCut, fx.GraphModule]], open_store: Opener, keys: np.ndarray
) -> Link | None:
    """Return the first of some earlier cuts that has any of these rows in the cache, or None.

    Args:
        candidates: with their bridges, the deepest first.
        open_store: where activations of a prefix are kept.
        keys: digests of the rows that the deeper cut lacks, (n, 16) uint8.
    """
    for earlier, bridge in candidates if len(keys) else ():
        store = open_store(earlier.prefix, earlier.frontier)
        lacking = len(store.missing(keys)) if store.path.is_dir() else len(keys)
        if lacking < len(keys):
            return Link(store, bridge, earlier, len(keys) - lacking)
    return None


def fill_from(
    link: Link,
    store: PrefixCache,
    keys: np.ndarray,
    run_bridge: RunBridge,
    *,
    device: torch.device,
    compute_rows: int,
    progress: Callable[[int], object] | None = None,
    probe: Callable[[], Probe] | None = None,
) -> Filled:
    """Fill a deeper cache with the rows that an earlier one has; damaged ones are set aside, and it lacks them.

    Args:
        link: the earlier cache.
        store: the deeper one.
        keys: digests of all rows, (n, 16) uint8; those that the earlier cache lacks are left out.
        run_bridge: calls a bridge on a batch of the earlier frontier and returns the deeper one as it is stored.
        device: where the bridge runs.
        compute_rows: how many rows it is given at once.
        progress: called with the number of rows just computed.
        probe: takes a probe of the deeper prefix, which is kept where there is none yet.
    """
    settings: dict[str, Any] = {"compute_rows": compute_rows, "progress": progress, "probe": probe}
    while True:
        lacking = keys[store.missing(keys)]
        absent = np.zeros(len(lacking), bool)
        absent[link.store.missing(lacking)] = True
        chosen = lacking[~absent]
        try:
            source = link.store.activations(chosen, device=device)
            return store.fill(chosen, _through(link.bridge, source, run_bridge), **settings)
        except DamageError as damage:
            link.store.set_aside(damage)


def _through(bridge: fx.GraphModule, source: Activations, run_bridge: RunBridge) -> ComputeRows:
    def compute(positions: np.ndarray) -> tuple[Tensor, ...]:
        return run_bridge(bridge, source.gather(torch.from_numpy(positions).to(source.device)))

    return compute

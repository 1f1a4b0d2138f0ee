"""Where the activations of a model's cuts are kept, and what each of the cuts would take."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import fx

from reuse.caching.cache import ActivationCache
from reuse.caching.chaining import Link
from reuse.caching.index import first_places
from reuse.caching.packing import choose_storage, packed
from reuse.caching.segment import FORMAT
from reuse.caching.store import PrefixCache
from reuse.data.dataset import Dataset
from reuse.devices import Compute, dtype_name
from reuse.fingerprinting.fingerprint import Fingerprint, fingerprint
from reuse.layers.cutting import Cut
from reuse.layers.earlier import EarlierCut
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.planning.options import Candidate, Work

SMALLER = ("float16", "bfloat16", "int8")  # types that a plan weighs beside that in which is computed

Stored = tuple[FrontierTensor, ...]


class PrefixCaches:
    """The caches of the prefixes of a model.

    Args:
        opened: the cache.
        data: whose preprocessing belongs to what is computed.
        compute: where and in which types.
        model: the name of its class, which people are told.

    Attributes:
        opened: the cache.
        known: whether there is one on the disk.
    """

    def __init__(self, opened: ActivationCache, data: Dataset, compute: Compute, model: str) -> None:
        self.opened, self.known = opened, opened.root.is_dir()
        self._preprocessing, self._compute = data.preprocessing.to_dict(), compute
        self._description = {"model": model, "data": data.name}

    def print_of(self, prefix: fx.GraphModule, frontier: Stored, stored_as: str | None = None) -> Fingerprint:
        """Return what the key of a prefix is made of; `stored_as`: the type in which its frontier is stored."""
        types = {f"stored/{tensor.name}": str(tensor.dtype) for tensor in packed(frontier, stored_as)}
        dtype = torch.bfloat16 if self._compute.precision == "bfloat16" else self._compute.dtype
        preprocessing = {**self._preprocessing, **types}
        device = self._compute.device
        return fingerprint(prefix, preprocessing=preprocessing, dtype=dtype, device=device, cache_format=FORMAT)

    def with_print(self, prints: Fingerprint, frontier: Stored, stored_as: str | None = None) -> PrefixCache:
        """Return the cache of the prefix with this fingerprint."""
        names = ", ".join(f.name for f in frontier)
        return self.opened.open(prints, frontier, {**self._description, "frontier": names}, stored_as)

    def of(self, prefix: fx.GraphModule, frontier: Stored, stored_as: str | None = None) -> PrefixCache:
        """Return the cache of a prefix."""
        return self.with_print(self.print_of(prefix, frontier, stored_as), frontier, stored_as)


def weighed_places(
    parts: Cut,
    work: Work,
    nodes: Mapping[str, float],
    caches: PrefixCaches,
    keys: np.ndarray,
    link: Link | None,
    dtype: str | None,
) -> list[Candidate]:
    """Return the cuts that a plan weighs: the deepest, and each earlier one that stores less than all deeper ones.

    Args:
        parts: the deepest.
        work: what was measured.
        nodes: seconds a row of each node of the prefix.
        caches: of the prefixes.
        keys: of all rows that are read, versions that take the place of others later among them.
        link: what spares rows of the deepest cut the layers before it.
        dtype: in which type they are stored.
    """
    found: list[Candidate] = []
    smallest, distinct = math.inf, len(first_places(keys))
    cuts: Sequence[Cut | EarlierCut] = (parts, *parts.earlier)
    for cut_at in cuts:
        bytes_of = _bytes_of(cut_at.frontier)
        if min(bytes_of.values()) >= smallest:
            continue
        smallest = min(bytes_of.values())
        frozen = sum(nodes.get(node.name, 0.0) for node in cut_at.prefix.graph.nodes)
        missing = distinct
        if caches.known:
            missing = len(caches.of(cut_at.prefix, cut_at.frontier, dtype).missing(keys))
        spared = 0.0
        if link is not None and cut_at is parts:
            before = sum(nodes.get(node.name, 0.0) for node in link.earlier.prefix.graph.nodes)
            spared = link.rows * (work.reading + before)
        behind, computing = cut_at.behind if isinstance(cut_at, EarlierCut) else (), missing * (work.reading + frozen)
        found.append(Candidate(behind, min(frozen, work.frozen), bytes_of, missing, computing - spared))
    return found


def _bytes_of(frontier: Stored) -> dict[str, int]:
    """Return the bytes of a row by the type in which its floating-point numbers are stored, the exact one first."""
    exact = next((t.dtype for t in frontier if t.dtype.is_floating_point), torch.float32)
    names = dict.fromkeys([dtype_name(exact), *(n for n in SMALLER if choose_storage(n).itemsize < exact.itemsize)])
    return {name: sum(t.row_bytes for t in packed(frontier, name)) for name in names}

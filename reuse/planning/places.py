"""The cuts that a plan weighs, and what each of them would take."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from reuse.caching.chaining import Link, PrefixCaches, Stored
from reuse.caching.index import first_places
from reuse.caching.packing import choose_storage, packed
from reuse.devices import dtype_name
from reuse.layers.earlier import EarlierCut
from reuse.layers.parts import Cut
from reuse.planning.options import Candidate, Work

SMALLER = ("float16", "bfloat16", "int8")  # types that a plan weighs beside that in which is computed


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
        frozen = seconds_before(cut_at, nodes)
        missing = distinct
        if caches.known:
            missing = len(caches.of(cut_at.prefix, cut_at.frontier, dtype).missing(keys))
        spared = 0.0
        if link is not None and cut_at is parts:
            spared = link.rows * (work.reading + seconds_before(link.earlier, nodes))
        behind, computing = cut_at.behind if isinstance(cut_at, EarlierCut) else (), missing * (work.reading + frozen)
        found.append(Candidate(behind, min(frozen, work.frozen), bytes_of, missing, computing - spared))
    return found


def seconds_before(cut_at: Cut | EarlierCut, nodes: Mapping[str, float]) -> float:
    """Return the seconds of a row in front of a cut, by those of each node of the deepest one's prefix."""
    return sum(nodes.get(node.name, 0.0) for node in cut_at.prefix.graph.nodes)


def _bytes_of(frontier: Stored) -> dict[str, int]:
    """Return the bytes of a row by the type in which its floating-point numbers are stored, the exact one first."""
    exact = next((t.dtype for t in frontier if t.dtype.is_floating_point), torch.float32)
    names = dict.fromkeys([dtype_name(exact), *(n for n in SMALLER if choose_storage(n).itemsize < exact.itemsize)])
    return {name: sum(t.row_bytes for t in packed(frontier, name)) for name in names}

"""Computing what frozen layers give: into a cache, into memory, or whenever it is read."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from reuse.caching.chaining import Link, fill_from, find_link
from reuse.caching.locking import FillShare
from reuse.caching.segment import KEY_BYTES
from reuse.caching.spot_checking import spot_check, storage_errors
from reuse.caching.storage import row_bytes
from reuse.caching.store import BLOCK_BYTES, Filled, PrefixCache
from reuse.data.inputs import Inputs, JoinedInputs
from reuse.data.rows import Resident, Rows
from reuse.devices import Compute, moved_each
from reuse.distributed import from_main, is_main, rank, sum_over_processes, together, world_size
from reuse.features.ahead import PreparedAhead
from reuse.features.opening import COMPARED_ROWS, Opening
from reuse.features.planned import PlannedFeatures
from reuse.features.rotating import Advance
from reuse.features.running import run_frozen
from reuse.heap import keep_freed_memory
from reuse.layers.earlier import EarlierCut
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.planning.plan import Plan
from reuse.reporting import Reporter

COMPUTE_ROWS = 64  # rows that the frozen layers see at once when they fill the cache, at most
COMPUTE_BYTES = 4 * 2**20  # of these rows, on a processor: what is computed of more takes memory afresh in each layer
FEWEST_ROWS = 8
KEPT_SECONDS = 3.0  # of computing that an interruption may cost, about

Ways = Sequence[tuple[EarlierCut, fx.GraphModule]]


class Filling:
    """Computes what caches lack of some rows.

    Args:
        features: the cut, and what is cached of it.
        inputs: the rows.
        compute: where and in which types.
        reporter: told of what is computed, and of what is set aside.
        once: whether nobody will ask for the inputs again, so that none need be kept.
    """

    def __init__(
        self,
        features: PlannedFeatures,
        inputs: Sequence[Inputs],
        compute: Compute,
        reporter: Reporter,
        *,
        once: bool = False,
    ) -> None:
        self._features, self._compute, self._reporter, self._once = features, compute, reporter, once
        self._rows = JoinedInputs(inputs)
        self._keys = self._rows.digests()
        self._opening = Opening(self._rows, compute, reporter)

    def fill(
        self, prefix: fx.GraphModule, store: PrefixCache, ways: Ways, what: str = "caching activations"
    ) -> Filled | None:
        """Fill one cache, from an earlier one as far as there is one, else from the inputs; None: it is set aside."""
        if not self._opening.may_serve(prefix, store):
            return None
        keys, lacking = self._keys, self._keys[store.missing(self._keys)]
        run, probe, missing = partial(self._run, prefix), partial(self._opening.probe, prefix), len(lacking)
        at_once = rows_at_once(self._rows, self._compute)
        with self._reporter.rows(missing, what) as progress:
            settings: dict[str, Any] = {"compute_rows": at_once, "progress": progress.advance, "probe": probe}
            linked = from_main(lambda: self._fill_from(self._find_link(ways, lacking), store, settings))
            with together(), keep_freed_memory():
                size, share = block_bytes(self._features.plan, store.stored), FillShare(rank(), world_size())
                order = share.of(store.missing(keys), len(keys))
                with PreparedAhead(self._rows, order, at_once, self._compute, once=self._once) as ahead:
                    run_ahead = partial(self._run_prepared, prefix, ahead)
                    filled = store.fill(
                        keys, run_ahead, block_bytes=size, rank=share.rank, world=share.count, **settings
                    )
        if not missing and is_main():  # one that was filled before there were probes
            store.keep_probe(probe)
        if world_size() > 1:
            counts = {"computed": torch.tensor(filled.computed), "found": torch.tensor(filled.found)}
            counts = sum_over_processes(counts)
            filled = replace(filled, computed=int(counts["computed"]), found=int(counts["found"]))
        if missing:
            for error in storage_errors(store, keys, run):
                self._reporter.line(f"stored {error}")
        return replace(filled, computed=filled.computed + linked, found=filled.found - linked)

    def fill_alone(self, prefix: fx.GraphModule, store: PrefixCache, advance: Advance) -> None:
        """Fill one cache beside the training: of several processes one does, and the others wait for its rows.

        The run has compared the probe when it began; to do so here would disturb the random numbers of the training.
        """
        run = partial(self._run, prefix)
        if len(store.missing(self._keys)) < len(self._keys):
            spot_check(store, self._keys, run, rows=COMPARED_ROWS)
        store.fill(self._keys, run, compute_rows=rows_at_once(self._rows, self._compute), progress=advance)

    def mend(self, prefix: fx.GraphModule, store: PrefixCache) -> None:
        """Compute the rows again that turned out to be damaged when they were read."""
        store.fill(self._keys, partial(self._run, prefix), compute_rows=rows_at_once(self._rows, self._compute))

    def _find_link(self, ways: Ways, lacking: np.ndarray) -> Link | None:
        """Return the first earlier cut that has any of these rows, and may serve them, in one process for all."""
        while (link := find_link(ways, self._features.lookup.caches.of, lacking)) is not None:
            if self._opening.may_serve_here(link.earlier.prefix, link.store):
                return link
            ways = [way for way in ways if way[0] is not link.earlier]
        return None

    def _fill_from(self, link: Link | None, store: PrefixCache, settings: dict[str, Any]) -> int:
        if link is None:
            return 0
        run = partial(run_frozen, compute=self._compute)
        return fill_from(link, store, self._keys, run, device=self._compute.device, **settings).computed

    def _run_prepared(self, prefix: fx.GraphModule, ahead: PreparedAhead, positions: np.ndarray) -> tuple[Tensor, ...]:
        return run_frozen(prefix, ahead.take(positions), self._compute)

    def _run(self, prefix: fx.GraphModule, positions: np.ndarray) -> tuple[Tensor, ...]:
        inputs = self._rows.gather(torch.from_numpy(positions))
        return run_frozen(prefix, moved_each(inputs, self._compute), self._compute)


def rows_at_once(inputs: Inputs, compute: Compute) -> int:
    """Return how many rows frozen layers see at once."""
    if compute.device.type != "cpu":
        return COMPUTE_ROWS
    size = sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in inputs.layout)
    return min(COMPUTE_ROWS, max(FEWEST_ROWS, COMPUTE_BYTES // max(1, size)))


def block_bytes(plan: Plan, stored: Sequence[FrontierTensor]) -> int:
    """Return how many bytes are written and noted at once: not more than a few seconds of computing give.

    Args:
        plan: says how long an epoch would take without a cache, of which the frozen layers are a part.
        stored: what is stored of a row.
    """
    seconds = plan.without_cache / max(1, plan.epochs * plan.rows)
    rows = max(1, int(KEPT_SECONDS / seconds)) if seconds > 0 else plan.stored_rows
    return min(BLOCK_BYTES, rows * (row_bytes(stored) + KEY_BYTES))


def compute_rows(
    features: PlannedFeatures,
    inputs: Inputs,
    compute: Compute,
    advance: Advance,
    way: tuple[Rows, fx.GraphModule] | None = None,
    once: bool = False,
) -> Resident:
    """Return what the frozen layers compute of some rows, in memory.

    Args:
        features: the cut.
        inputs: the rows.
        compute: where and in which types.
        advance: called with the number of rows just computed.
        way: what a shallower cut gave of the same rows, and what takes that to this cut's frontier; None: from inputs.
        once: whether nobody will ask for the inputs again.
    """
    tensors = tuple(
        torch.empty((len(inputs), *f.shape), dtype=f.dtype, device=compute.device) for f in features.parts.frontier
    )
    at_once = rows_at_once(inputs, compute)
    chunks = torch.arange(len(inputs)).split(at_once) if len(inputs) else ()  # type: ignore[no-untyped-call]
    with PreparedAhead(inputs, np.arange(len(inputs)), at_once, compute, once=once) as ahead:
        for some in chunks:
            if way is None:
                outputs = run_frozen(features.parts.prefix, ahead.take(some.numpy()), compute)
            else:
                source, bridge = way
                outputs = run_frozen(bridge, source.gather(some.to(source.device)), compute)
            for tensor, output in zip(tensors, outputs, strict=True):
                tensor[some] = output
            advance(len(some))
    return Resident(*tensors)


class Computed:
    """The outputs of frozen layers for the rows of another source, computed whenever they are read."""

    def __init__(self, source: Rows, prefix: fx.GraphModule, compute: Compute) -> None:
        self.device = source.device
        self._source, self._prefix, self._compute = source, prefix, compute

    def __len__(self) -> int:
        return len(self._source)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the frontier of the rows `indices`."""
        inputs = moved_each(self._source.gather(indices), self._compute)
        return tuple([tensor.to(self.device) for tensor in run_frozen(self._prefix, inputs, self._compute)])

"""Feeds of a trainer: the inputs themselves, or the activations of the frozen layers."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from reuse.augmenting.views import Viewing
from reuse.caching.chaining import bridges
from reuse.caching.locking import VanishedError
from reuse.caching.segment_rows import LostRowsError
from reuse.data.dataset import SPLITS, Dataset, learned_targets
from reuse.data.inputs import Inputs, ReadInputs
from reuse.data.rows import Converted, Resident, Rows, windows_of
from reuse.devices import Compute, free_memory, moved_each
from reuse.distributed import from_main, is_main, world_size
from reuse.features.filling import Computed, Filling, compute_rows
from reuse.features.planned import PlannedFeatures
from reuse.features.rotating import Advance, Rotating
from reuse.nn.by_name import by_position
from reuse.planning.workload import save_timings
from reuse.reporting import Reporter
from reuse.training.feeds import Feed


def feed_inputs(model: nn.Module, data: Dataset, compute: Compute, viewing: Viewing | None = None) -> Feed:
    """Return the inputs themselves, for training the whole model.

    Args:
        model: the whole.
        data: the rows.
        compute: where and in which types.
        viewing: versions of the training rows; None: the rows as they are.
    """
    splits: dict[str, Rows] = {name: _source(getattr(data, name).inputs, compute) for name in SPLITS}
    splits["train"] = _in_turn(splits["train"], viewing, lambda inputs: _source(inputs, compute))
    network = by_position(model, data.train.inputs.layout)
    return Feed(network, _with_targets(splits, data, compute), viewed=viewing is not None)


def feed_computed(features: PlannedFeatures, data: Dataset, compute: Compute) -> Feed:
    """Return activations that are computed anew whenever they are read, for what is done to them without a cache."""
    prefix, viewing = features.parts.prefix, features.viewing

    def computed(inputs: Inputs) -> Rows:
        return Computed(_source(inputs, compute), prefix, compute)

    splits = {name: computed(getattr(data, name).inputs) for name in SPLITS}
    splits["train"] = _in_turn(splits["train"], viewing, computed)
    seconds, fed = {**features.seconds, "cache": 0.0}, _with_targets(splits, data, compute)
    return Feed(features.parts.suffix, fed, seconds=seconds, features=True, viewed=viewing is not None)


def feed_activations(
    features: PlannedFeatures,
    data: Dataset,
    compute: Compute,
    reporter: Reporter,
    windowed: bool | None = None,
    before: Feed | None = None,
    once: bool = False,
) -> Feed:
    """Compute what is missing and return the activations of all splits, from disk or memory as it is planned.

    What later phases will read is computed on the way: the earliest frontier first, each deeper one from that before.
    Processes that train together compute a part of the rows each.

    Args:
        features: the cut and its plan.
        data: the rows.
        compute: where and in which types.
        reporter: told of what is computed.
        windowed: whether training rows are shuffled window by window, where a run that is resumed has begun so or
            otherwise; None: if they do not fit into memory.
        before: of an earlier phase: what it holds in memory of a shallower cut is gone on from.
        once: whether nobody will ask for the inputs after this, so that pixels need not be kept.

    Raises:
        CacheError: the cache is damaged or cannot be written.
    """
    started = time.perf_counter()
    held, stored = None, None
    once = once and features.viewing is None and not features.later
    if features.plan.kind != "memory":
        try:
            stored = _on_disk(features, data, compute, reporter, windowed, once)
        except (VanishedError, LostRowsError):
            if world_size() > 1:  # the others wait for this one
                raise
            reporter.line(f"{features.store.path} was removed while it was filled: this run goes on without a cache")
        if stored is None and not from_main(lambda: _fits(features, data, compute)):
            reporter.line("the activations do not fit into memory, so they are computed anew in each epoch")
            return feed_computed(features, data, compute)
    if stored is None:
        stored = _in_memory(features, data, compute, reporter, before, once)
        held = features.store.key
    splits, cache = stored
    seconds = {**features.seconds, "cache": time.perf_counter() - started}
    viewing, fed = features.viewing, _with_targets(splits, data, compute)
    if viewing is not None:
        cache["views"] = {"count": 1 + len(viewing.changed), "new": 0}
    feed = Feed(features.parts.suffix, fed, cache, seconds, features=True, viewed=viewing is not None, held=held)
    if feed.windowed:
        reporter.line("the activations stay on disk and are shuffled window by window: they do not fit into memory")
    return feed


def too_large(features: PlannedFeatures, compute: Compute) -> bool:
    """Say whether the activations of the training rows are more than half of the memory that is free would hold."""
    row_bytes = min(sum(f.row_bytes for f in frontier) for frontier in (features.parts.frontier, features.stored))
    devices = {compute.device, torch.device("cpu")}
    return row_bytes * len(features.lookup.keys.splits["train"]) > max(
        _memory_of_each(features, device) for device in devices
    )


def _fits(features: PlannedFeatures, data: Dataset, compute: Compute) -> bool:
    """Say whether the activations of all rows would fit into half of the memory that is free."""
    rows = sum(len(getattr(data, name)) for name in SPLITS)
    rows += 0 if features.viewing is None else (1 + len(features.viewing.changed)) * len(data.train)
    return sum(f.row_bytes for f in features.parts.frontier) * rows <= free_memory(compute.device) // 2


def _memory_of_each(features: PlannedFeatures, device: torch.device) -> int:
    """Return the bytes that each version of the training rows may take: half of what is free for all, one more too."""
    versions = 1 if features.viewing is None else 2 + len(features.viewing.changed)
    return free_memory(device) // 2 // versions


def _in_memory(
    features: PlannedFeatures, data: Dataset, compute: Compute, reporter: Reporter, before: Feed | None, once: bool
) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Compute the activations of all rows into memory, where they are gone with the process."""
    viewing, inputs = features.viewing, {name: getattr(data, name).inputs for name in SPLITS}
    changed = viewing.changed if viewing else {}
    rows = sum(map(len, [*inputs.values(), *changed.values()]))
    bridge = None if before is None else _bridge_from(before, features)
    with reporter.rows(rows, "computing activations") as progress:
        kept = partial(compute_rows, features, compute=compute, once=once)
        splits: dict[str, Rows] = {}
        for name, some in inputs.items():
            way = None if before is None or bridge is None else (before.splits[name][0], bridge)
            splits[name] = kept(some, advance=progress.advance, way=way)
        versions = {number: kept(some, advance=progress.advance) for number, some in changed.items()}
    if viewing is not None:

        def version(number: int, advance: Advance) -> Rows:
            return kept(viewing.version(number), advance=advance)

        splits["train"] = Rotating(viewing, {0: splits["train"], **versions}, version)
    size = sum(f.row_bytes for f in features.parts.frontier) * rows
    found = {"computed": rows, "found": 0}
    return splits, {"kind": "memory", "hit": False, "key": None, "path": None, "bytes": size, "rows": found, "later": 0}


def _bridge_from(before: Feed, features: PlannedFeatures) -> fx.GraphModule | None:
    """Return what computes a frontier from the one that an earlier phase holds in memory; None where that cannot be."""
    for earlier, bridge in bridges(features.parts.earlier) if before.held else ():
        if features.lookup.caches.of(earlier.prefix, earlier.frontier).key == before.held:
            return bridge
    return None


def _on_disk(
    features: PlannedFeatures, data: Dataset, compute: Compute, reporter: Reporter, windowed: bool | None, once: bool
) -> tuple[dict[str, Rows], dict[str, Any]] | None:
    """Fill the cache and read it; None where it is set aside, as the frozen layers compute otherwise by now."""
    viewing = features.viewing
    changed = viewing.changed if viewing else {}
    inputs = [getattr(data, name).inputs for name in SPLITS] + list(changed.values())
    filling = Filling(features, inputs, compute, reporter, once=once)
    later = 0
    for number, earlier in enumerate(features.later):
        ways = bridges(features.later[:number][::-1], earlier)
        store, what = features.lookup.caches.of(earlier.prefix, earlier.frontier), f"before {earlier.behind[0]}"
        ahead = filling.fill(earlier.prefix, store, ways, f"caching activations {what}, for a later phase")
        later += 0 if ahead is None else ahead.computed
    with features.store.hold():
        filled = filling.fill(features.parts.prefix, features.store, bridges(features.parts.earlier))
        if filled is None:
            return None
        if features.measured is not None:
            save_timings(features.store.path, features.measured)
        mend = partial(filling.mend, features.parts.prefix, features.store)
        read = partial(features.store.activations, device=compute.device, mend=mend)
        splits: dict[str, Rows] = {name: read(features.lookup.keys.splits[name]) for name in SPLITS if name != "train"}
        train = partial(read, memory=_memory_of_each(features, compute.device), windowed=windowed)
        splits["train"] = train(features.lookup.keys.splits["train"])
        if viewing is not None:
            train = partial(train, windowed=windows_of(splits["train"]) is not None)
            versions = {0: splits["train"], **{n: train(inputs.digests()) for n, inputs in changed.items()}}

            keys_of = dict[int, np.ndarray]()

            def version(number: int, advance: Advance) -> Rows:
                rows = viewing.version(number)
                keys_of[number] = rows.digests()
                with features.store.hold():
                    own = Filling(features, [rows], compute, reporter)
                    own.fill_alone(features.parts.prefix, features.store, advance)
                    again = partial(own.mend, features.parts.prefix, features.store)
                    return train(rows.digests(), mend=again)

            def discard(number: int) -> bool:
                gone = not is_main() or features.store.discard(keys_of[number])
                if gone:
                    del keys_of[number]
                return gone

            splits["train"] = Rotating(viewing, versions, version, discard)
    found = {"computed": filled.computed, "found": filled.found}
    return splits, {
        "kind": "disk",
        "hit": filled.computed + later == 0,
        "key": features.store.key,
        "path": str(features.store.path),
        "bytes": sum(f.row_bytes for f in features.stored) * sum(found.values()),
        "rows": found,
        "later": later,
    }


def _in_turn(plain: Rows, viewing: Viewing | None, make: Callable[[Inputs], Rows]) -> Rows:
    """Return the training rows with their versions, each made from its inputs when it is needed."""
    if viewing is None:
        return plain
    return Rotating(viewing, {0: plain}, lambda number, _: make(viewing.version(number)))


def _with_targets(splits: dict[str, Rows], data: Dataset, compute: Compute) -> dict[str, tuple[Rows, Tensor | None]]:
    return {name: (source, learned_targets(data, getattr(data, name), compute)) for name, source in splits.items()}


def _source(inputs: Inputs, compute: Compute) -> Rows:
    residents = inputs.residents()
    size = 0 if residents is None else sum(tensor.numel() for tensor in residents) * compute.dtype.itemsize
    if residents is not None and size < free_memory(compute.device) // 2:
        return Resident(*moved_each(residents, compute))
    source = ReadInputs(inputs)
    return source if compute.dtype == torch.float32 else Converted(source, (compute.dtype,) * len(inputs.layout))

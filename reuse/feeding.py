"""What the trainer is fed with: the inputs themselves, or the activations of the frozen layers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from reuse.caching.store import Filled, PrefixCache
from reuse.chaining import Link, bridges, fill_from, find_link
from reuse.compute import Compute, moved, targets_of
from reuse.data.dataset import SPLITS, Dataset, Split
from reuse.data.inputs import Inputs
from reuse.data.joining import Joined
from reuse.devices import free_memory
from reuse.distributed import from_main, rank, sum_over_processes, together, world_size
from reuse.layers.earlier import Earlier
from reuse.objectives.objective import Network
from reuse.preparing import Prepared
from reuse.rotating import Rotating
from reuse.runs.reporting import Progress, Reporter
from reuse.training.batches import Resident, Source, windows_of
from reuse.training.precision import autocast
from reuse.training.sources import Converted, ReadInputs

COMPUTE_ROWS = 64  # rows that the frozen layers see at once when they fill the cache

Ways = Sequence[tuple[Earlier, fx.GraphModule]]


@dataclass
class Feed:
    """The three splits as the trainer reads them, and the network that takes their batches.

    Attributes:
        network: the model, or the suffix of its cut.
        splits: source and targets of each split.
        cache: what the cache gave, as `--json` prints it; None without one.
        seconds: of cutting, checking and planning; of digesting; of computing and writing activations.
        features: whether the network is a suffix, and reads what frozen layers have computed.
        viewed: whether the training rows are versions that augmentation has changed already.
        held: the key of the prefix whose activations are in memory alone; None where none are.
    """

    network: Network
    splits: dict[str, tuple[Source, Tensor | None]]
    cache: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"prepare": 0.0, "digest": 0.0, "cache": 0.0})
    features: bool = False
    viewed: bool = False
    held: str | None = None

    @property
    def windowed(self) -> bool:
        """Whether training rows are shuffled window by window, as they are more than fit into memory."""
        return windows_of(self.splits["train"][0]) is not None


def feed_inputs(model: nn.Module, data: Dataset, compute: Compute) -> Feed:
    """Return the inputs themselves, for training the whole model."""
    return Feed(model, {name: _inputs(getattr(data, name), compute) for name in SPLITS})


def feed_computed(prepared: Prepared, data: Dataset, compute: Compute) -> Feed:
    """Return activations that are computed anew whenever they are read, for what is done to them without a cache."""
    splits: dict[str, tuple[Source, Tensor | None]] = {}
    for name in SPLITS:
        source, targets = _inputs(getattr(data, name), compute)
        splits[name] = _Computed(source, prepared.parts.prefix, compute), targets
    return Feed(prepared.parts.suffix, splits, seconds={**prepared.seconds, "cache": 0.0}, features=True)


def feed_activations(
    prepared: Prepared,
    data: Dataset,
    compute: Compute,
    reporter: Reporter,
    windowed: bool | None = None,
    before: Feed | None = None,
) -> Feed:
    """Compute what is missing and return the activations of all splits, from disk or memory as it is planned.

    What later phases will read is computed on the way: the earliest frontier first, each deeper one from that before.
    Processes that train together compute a part of the rows each.

    Args:
        prepared: the cut and its plan.
        data: the rows.
        compute: where and in which types.
        reporter: told of what is computed.
        windowed: whether training rows are shuffled window by window, where a run that is resumed has begun so or
            otherwise; None: if they do not fit into memory.
        before: of an earlier phase: what it holds in memory of a shallower cut is gone on from.

    Raises:
        CacheError: the cache is damaged or cannot be written.
    """
    started = time.perf_counter()
    held = None
    if prepared.plan.kind == "memory":
        splits, cache = _in_memory(prepared, data, compute, reporter, before)
        held = prepared.store.key
    else:
        splits, cache = _on_disk(prepared, data, compute, reporter, windowed)
    fed = {name: (source, targets_of(getattr(data, name), compute)) for name, source in splits.items()}
    seconds = {**prepared.seconds, "cache": time.perf_counter() - started}
    if prepared.viewing is not None:
        views = prepared.viewing
        cache["views"] = {"count": views.views.count + views.later, "new": views.later}
    feed = Feed(
        prepared.parts.suffix, fed, cache, seconds, features=True, viewed=prepared.viewing is not None, held=held
    )
    if feed.windowed:
        reporter.line("the activations stay on disk and are shuffled window by window: they do not fit into memory")
    return feed


def too_large(prepared: Prepared, compute: Compute) -> bool:
    """Say whether the activations of the training rows are more than half of the memory that is free would hold."""
    row_bytes = min(sum(f.row_bytes for f in frontier) for frontier in (prepared.parts.frontier, prepared.stored))
    free = max(free_memory(compute.device), free_memory(torch.device("cpu")))
    return row_bytes * len(prepared.keys["train"]) > free // 2


def _in_memory(
    prepared: Prepared, data: Dataset, compute: Compute, reporter: Reporter, before: Feed | None
) -> tuple[dict[str, Source], dict[str, Any]]:
    """Compute the activations of all rows into memory, where they are gone with the process."""
    viewing, inputs = prepared.viewing, {name: getattr(data, name).inputs for name in SPLITS}
    changed = viewing.changed if viewing else {}
    rows = sum(map(len, [*inputs.values(), *changed.values()]))
    bridge = None if before is None else _bridge_from(before, prepared)
    with reporter.rows(rows, "computing activations") as progress:
        kept = partial(_computed, prepared, compute=compute)
        splits: dict[str, Source] = {}
        for name, some in inputs.items():
            way = None if before is None or bridge is None else (before.splits[name][0], bridge)
            splits[name] = kept(some, progress=progress, way=way)
        versions = {number: kept(some, progress=progress) for number, some in changed.items()}
    if viewing is not None:
        every = {0: splits["train"], **versions}
        splits["train"] = Rotating(viewing.views, every, lambda n: kept(viewing.version(n)), viewing.epochs[1])
    size = sum(f.row_bytes for f in prepared.parts.frontier) * rows
    found = {"computed": rows, "found": 0}
    return splits, {"kind": "memory", "hit": False, "key": None, "path": None, "bytes": size, "rows": found}


def _computed(
    prepared: Prepared,
    inputs: Inputs,
    compute: Compute,
    progress: Progress | None = None,
    way: tuple[Source, fx.GraphModule] | None = None,
) -> Resident:
    """Return what the frozen layers compute of some inputs, or of what a shallower cut gave of them, in memory."""
    tensors = tuple(
        torch.empty((len(inputs), *f.shape), dtype=f.dtype, device=compute.device) for f in prepared.parts.frontier
    )
    for some in torch.arange(len(inputs)).split(COMPUTE_ROWS):  # type: ignore[no-untyped-call]
        if way is None:
            outputs = _run_frozen(prepared.parts.prefix, (moved(inputs.gather(some)[0], compute),), compute)
        else:
            source, bridge = way
            outputs = _run_frozen(bridge, source.gather(some.to(source.device)), compute)
        for tensor, output in zip(tensors, outputs, strict=True):
            tensor[some] = output
        if progress is not None:
            progress.advance(len(some))
    return Resident(*tensors)


def _bridge_from(before: Feed, prepared: Prepared) -> fx.GraphModule | None:
    """Return what computes a frontier from the one that an earlier phase holds in memory; None where that cannot be."""
    for earlier, bridge in bridges(prepared.parts.earlier) if before.held else ():
        if prepared.open_store(earlier.prefix, earlier.frontier).key == before.held:
            return bridge
    return None


def _on_disk(
    prepared: Prepared, data: Dataset, compute: Compute, reporter: Reporter, windowed: bool | None
) -> tuple[dict[str, Source], dict[str, Any]]:
    """Fill the cache and read it."""
    viewing = prepared.viewing
    changed = viewing.changed if viewing else {}
    filling = _Filling(prepared, [getattr(data, name).inputs for name in SPLITS] + list(changed.values()), compute)
    for number, earlier in enumerate(prepared.later):
        ways = bridges(prepared.later[:number][::-1], earlier)
        filling.fill(earlier.prefix, prepared.open_store(earlier.prefix, earlier.frontier), ways, reporter)
    with prepared.store.hold():
        filled = filling.fill(prepared.parts.prefix, prepared.store, bridges(prepared.parts.earlier), reporter)
        read = partial(prepared.store.activations, device=compute.device)
        splits: dict[str, Source] = {name: read(prepared.keys[name]) for name in SPLITS if name != "train"}
        memory = None if viewing is None else free_memory(compute.device) // 2 // (2 + len(changed))
        train = partial(read, memory=memory, windowed=windowed)
        splits["train"] = train(prepared.keys["train"])
        if viewing is not None:
            train = partial(train, windowed=windows_of(splits["train"]) is not None)
            versions = {0: splits["train"], **{n: train(inputs.digests()) for n, inputs in changed.items()}}

            def version(number: int) -> Source:
                rows = viewing.version(number)
                with prepared.store.hold():
                    _Filling(prepared, [rows], compute).fill_alone(prepared.parts.prefix, prepared.store)
                    return train(rows.digests())

            splits["train"] = Rotating(viewing.views, versions, version, viewing.epochs[1])
    found = {"computed": filled.computed, "found": filled.found}
    return splits, {
        "kind": "disk",
        "hit": filled.computed == 0,
        "key": prepared.store.key,
        "path": str(prepared.store.path),
        "bytes": sum(f.row_bytes for f in prepared.stored) * sum(found.values()),
        "rows": found,
    }


class _Filling:
    """Computes what caches lack of some rows."""

    def __init__(self, prepared: Prepared, inputs: Sequence[Inputs], compute: Compute) -> None:
        self._prepared, self._compute = prepared, compute
        self._rows = Joined(inputs)
        self._keys = self._rows.digests()

    def fill(self, prefix: fx.GraphModule, store: PrefixCache, ways: Ways, reporter: Reporter) -> Filled:
        """Fill one cache, from an earlier one as far as there is one, else from the inputs."""
        keys, missing = self._keys, len(store.missing(self._keys))
        run = partial(self._run, prefix)
        if missing < len(keys):
            store.spot_check(keys, run)
        with reporter.rows(missing, "caching activations") as progress:
            settings: dict[str, Any] = {"compute_rows": COMPUTE_ROWS, "progress": progress.advance}
            link = find_link(ways, self._prepared.open_store, keys[store.missing(keys)])
            linked = from_main(lambda: self._fill_from(link, store, settings))
            with together():
                filled = store.fill(keys, run, rank=rank(), world=world_size(), **settings)
        if world_size() > 1:
            counts = {"computed": torch.tensor(filled.computed), "found": torch.tensor(filled.found)}
            counts = sum_over_processes(counts)
            filled = replace(filled, computed=int(counts["computed"]), found=int(counts["found"]))
        if missing:
            for error in store.storage_errors(keys, run):
                reporter.line(f"stored {error}")
        return replace(filled, computed=filled.computed + linked, found=filled.found - linked)

    def fill_alone(self, prefix: fx.GraphModule, store: PrefixCache) -> None:
        """Fill one cache beside the training: of several processes one does, and the others wait for its rows."""
        store.fill(self._keys, partial(self._run, prefix), compute_rows=COMPUTE_ROWS)

    def _fill_from(self, link: Link | None, store: PrefixCache, settings: dict[str, Any]) -> int:
        if link is None:
            return 0
        run = partial(_run_frozen, compute=self._compute)
        return fill_from(link, store, self._keys, run, device=self._compute.device, **settings).computed

    def _run(self, prefix: fx.GraphModule, positions: np.ndarray) -> tuple[Tensor, ...]:
        (inputs,) = self._rows.gather(torch.from_numpy(positions))
        return _run_frozen(prefix, (moved(inputs, self._compute),), self._compute)


def _run_frozen(module: fx.GraphModule, tensors: tuple[Tensor, ...], compute: Compute) -> tuple[Tensor, ...]:
    """Return what frozen layers compute."""
    # Not inference_mode: what a module memorises in its forward would then be useless for training.
    with torch.no_grad(), autocast(compute.precision, compute.device):
        outputs: tuple[Tensor, ...] = module(*tensors)
        return outputs


class _Computed:
    """What frozen layers compute of the rows of another source."""

    def __init__(self, source: Source, prefix: fx.GraphModule, compute: Compute) -> None:
        self.device = source.device
        self._source, self._prefix, self._compute = source, prefix, compute

    def __len__(self) -> int:
        return len(self._source)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the frontier of the rows `indices`."""
        inputs = tuple([moved(tensor, self._compute) for tensor in self._source.gather(indices)])
        return tuple([tensor.to(self.device) for tensor in _run_frozen(self._prefix, inputs, self._compute)])


def _inputs(split: Split, compute: Compute) -> tuple[Source, Tensor | None]:
    resident, targets = split.inputs.resident(), targets_of(split, compute)
    if resident is not None and resident.numel() * compute.dtype.itemsize < free_memory(compute.device) // 2:
        return Resident(moved(resident, compute)), targets
    source = ReadInputs(split.inputs)
    return (source if compute.dtype == torch.float32 else Converted(source, (compute.dtype,))), targets

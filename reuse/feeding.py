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
from reuse.chaining import bridges, fill_from, find_link
from reuse.compute import Compute, moved, targets_of
from reuse.data.dataset import SPLITS, Dataset, Split
from reuse.data.joining import Joined
from reuse.devices import dtype_name, free_memory
from reuse.errors import CacheError
from reuse.layers.earlier import Earlier
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.objectives.objective import Network
from reuse.preparing import Prepared, Stored
from reuse.runs.reporting import Reporter
from reuse.training.batches import Resident, Source
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
        held: the key of the prefix whose activations are in memory alone; None where none are.
    """

    network: Network
    splits: dict[str, tuple[Source, Tensor | None]]
    cache: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"prepare": 0.0, "digest": 0.0, "cache": 0.0})
    held: str | None = None


def feed_inputs(model: nn.Module, data: Dataset, compute: Compute) -> Feed:
    """Return the inputs themselves, for training the whole model."""
    return Feed(model, {name: _inputs(getattr(data, name), compute) for name in SPLITS})


def feed_activations(
    prepared: Prepared, data: Dataset, compute: Compute, reporter: Reporter, before: Feed | None = None
) -> Feed:
    """Compute what is missing and return the activations of all splits, from disk or memory as it is planned.

    What later phases will read is computed on the way: the earliest frontier first, each deeper one from that before.

    Args:
        prepared: the cut and its plan.
        data: the rows.
        compute: where and in which types.
        reporter: told how far it is.
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
        splits, cache = _on_disk(prepared, data, compute, reporter)
    fed = {name: (source, targets_of(getattr(data, name), compute)) for name, source in splits.items()}
    seconds = {**prepared.seconds, "cache": time.perf_counter() - started}
    return Feed(prepared.parts.suffix, fed, cache, seconds, held)


def _in_memory(
    prepared: Prepared, data: Dataset, compute: Compute, reporter: Reporter, before: Feed | None
) -> tuple[dict[str, Source], dict[str, Any]]:
    """Compute the activations of all rows into memory, where they are gone with the process."""
    bridge = None if before is None else _bridge_from(before, prepared)
    splits: dict[str, Source] = {}
    rows = sum(len(getattr(data, name)) for name in SPLITS)
    with reporter.rows(rows, "computing activations") as progress:
        for name in SPLITS:
            inputs = getattr(data, name).inputs
            tensors = tuple(
                torch.empty((len(inputs), *f.shape), dtype=f.dtype, device=compute.device)
                for f in prepared.parts.frontier
            )
            for some in torch.arange(len(inputs)).split(COMPUTE_ROWS):  # type: ignore[no-untyped-call]
                if before is not None and bridge is not None:
                    source = before.splits[name][0]
                    module, given = bridge, source.gather(some.to(source.device))
                else:
                    module, given = prepared.parts.prefix, (moved(inputs.gather(some)[0], compute),)
                outputs = _run_frozen(module, given, stored=prepared.parts.frontier, compute=compute)
                for tensor, output in zip(tensors, outputs, strict=True):
                    tensor[some] = output
                progress.advance(len(some))
            splits[name] = Resident(*tensors)
    size = sum(f.row_bytes for f in prepared.parts.frontier) * rows
    found = {"computed": rows, "found": 0}
    return splits, {"kind": "memory", "hit": False, "key": None, "path": None, "bytes": size, "rows": found}


def _bridge_from(before: Feed, prepared: Prepared) -> fx.GraphModule | None:
    """Return what computes a frontier from the one that an earlier phase holds in memory; None where that cannot be."""
    for earlier, bridge in bridges(prepared.parts.earlier) if before.held else ():
        if prepared.open_store(earlier.prefix, earlier.frontier).key == before.held:
            return bridge
    return None


def _on_disk(
    prepared: Prepared, data: Dataset, compute: Compute, reporter: Reporter
) -> tuple[dict[str, Source], dict[str, Any]]:
    """Fill the cache and read it."""
    keys = np.concatenate([prepared.keys[name] for name in SPLITS])
    rows = Joined([getattr(data, name).inputs for name in SPLITS])

    def read(positions: np.ndarray) -> tuple[Tensor, ...]:
        (inputs,) = rows.gather(torch.from_numpy(positions))
        return (moved(inputs, compute),)

    def fill(prefix: fx.GraphModule, store: PrefixCache, stored: Stored, ways: Ways) -> Filled:
        run = partial(_run_frozen, stored=stored, compute=compute)
        missing = len(store.missing(keys))
        if missing < len(keys):
            store.spot_check(keys, lambda positions: run(prefix, read(positions)))
        link = find_link(ways, prepared.open_store, keys[store.missing(keys)])
        linked = 0
        with reporter.rows(missing, "caching activations") as progress:
            settings: dict[str, Any] = {"compute_rows": COMPUTE_ROWS, "progress": progress.advance}
            if link is not None:
                linked = fill_from(link, store, keys, run, device=compute.device, **settings).computed
            filled = store.fill(keys, lambda positions: run(prefix, read(positions)), **settings)
        return replace(filled, computed=filled.computed + linked, found=filled.found - linked)

    for number, earlier in enumerate(prepared.later):
        ways = bridges(prepared.later[:number][::-1], earlier)
        fill(earlier.prefix, prepared.open_store(earlier.prefix, earlier.frontier), earlier.frontier, ways)
    filled = fill(prepared.parts.prefix, prepared.store, prepared.stored, bridges(prepared.parts.earlier))
    found = {"computed": filled.computed, "found": filled.found}
    cache = {
        "kind": "disk",
        "hit": filled.computed == 0,
        "key": prepared.store.key,
        "path": str(prepared.store.path),
        "bytes": sum(f.row_bytes for f in prepared.stored) * sum(found.values()),
        "rows": found,
    }
    return {name: _activations(prepared, name, compute) for name in SPLITS}, cache


def _run_frozen(
    module: fx.GraphModule, tensors: tuple[Tensor, ...], *, stored: Stored, compute: Compute
) -> tuple[Tensor, ...]:
    """Return what frozen layers compute, as it is stored."""
    # Not inference_mode: what a module memorises in its forward would then be useless for training.
    with torch.no_grad(), autocast(compute.precision, compute.device):
        outputs = module(*tensors)
        return tuple(_stored_tensor(t, f) for t, f in zip(outputs, stored, strict=True))


def _stored_tensor(values: Tensor, stored: FrontierTensor) -> Tensor:
    """Return values in the type in which they are stored, if they fit."""
    if values.dtype == stored.dtype:
        return values
    narrow = values.to(stored.dtype)
    if bool(values.isfinite().all()) and not bool(narrow.isfinite().all()):
        raise CacheError(
            f"activations of {stored.name} reach {values.abs().max().item():.3g} and do not fit "
            f"{dtype_name(stored.dtype)}: use bfloat16, or leave cache-dtype out"
        )
    return narrow


def _activations(prepared: Prepared, split: str, compute: Compute) -> Source:
    """Return cached rows in the types in which the prefix computed them."""
    activations = prepared.store.activations(prepared.keys[split], device=compute.device)
    dtypes = tuple(tensor.dtype for tensor in prepared.parts.frontier)
    if dtypes == tuple(tensor.dtype for tensor in prepared.stored):
        return activations
    resident = activations.resident()
    if resident and resident[0].device == compute.device:
        return Resident(*(t.to(dtype) for t, dtype in zip(resident, dtypes, strict=True)))
    return Converted(activations, dtypes)


def _inputs(split: Split, compute: Compute) -> tuple[Source, Tensor | None]:
    resident, targets = split.inputs.resident(), targets_of(split, compute)
    if resident is not None and resident.numel() * compute.dtype.itemsize < free_memory(compute.device) // 2:
        return Resident(moved(resident, compute)), targets
    source = ReadInputs(split.inputs)
    return (source if compute.dtype == torch.float32 else Converted(source, (compute.dtype,))), targets

"""What the trainer is fed with: the inputs themselves, or the cached activations of the frozen layers."""

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from reuse.caching.cache import ActivationCache
from reuse.caching.fingerprint import Fingerprint, fingerprint
from reuse.caching.store import Filled, PrefixCache
from reuse.chaining import Link, Opener, bridges, fill_from, find_link
from reuse.data.dataset import SPLITS, Dataset, Split
from reuse.data.joining import Joined
from reuse.devices import choose_dtype, dtype_name, free_memory
from reuse.errors import CacheError
from reuse.layers.cutting import Cut, cut
from reuse.layers.earlier import Earlier
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.objectives.objective import Network, Objective
from reuse.planning import SAMPLE_ROWS, Plan, make_plan
from reuse.runs.reporting import Reporter
from reuse.training.batches import Resident, Source
from reuse.training.precision import autocast
from reuse.training.sources import Converted, ReadInputs
from reuse.units import format_bytes, format_epochs, format_seconds

COMPUTE_ROWS = 64  # rows that the frozen layers see at once when they fill the cache

Stored = tuple[FrontierTensor, ...]
Ways = Sequence[tuple[Earlier, fx.GraphModule]]


@dataclass(frozen=True)
class Compute:
    """Where and in which types a training computes.

    Attributes:
        device: where.
        precision: a name of `reuse.training.precision`.
    """

    device: torch.device
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The type of the model and its inputs."""
        return torch.float64 if self.precision == "float64" else torch.float32


@dataclass(frozen=True)
class CacheSettings:
    """What the user says about the cache.

    Attributes:
        use: False for `--no-cache`.
        folder: where; None: `$REUSE_CACHE` or `./cache`.
        dtype: in which type activations are stored; None: as computed.
        budget: bytes that all caches together may take; None: no limit.
    """

    use: bool = True
    folder: str | Path | None = None
    dtype: str | None = None
    budget: int | None = None

    def open(self) -> ActivationCache:
        """Return the cache."""
        return ActivationCache(cache_folder(self.folder), self.budget)


@dataclass
class Feed:
    """The three splits as the trainer reads them, and the network that takes their batches.

    Attributes:
        network: the model, or the suffix of its cut.
        splits: source and targets of each split.
        cache: what the cache gave, as `--json` prints it; None without one.
        seconds: of cutting, checking and planning; of digesting; of computing and writing activations.
    """

    network: Network
    splits: dict[str, tuple[Source, Tensor | None]]
    cache: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"prepare": 0.0, "digest": 0.0, "cache": 0.0})


@dataclass(frozen=True)
class Prepared:
    """A cut, its plan, and the place of its activations; nothing is computed yet.

    Attributes:
        parts: the cut.
        stored: the frontier as it is stored: in the type that the user chose, or as computed.
        plan: what was measured.
        fingerprint: of the prefix.
        store: where the activations are or will be.
        open_store: where those of an earlier cut are, stored as computed.
        link: an earlier cut whose stored activations the missing ones are computed from; None where there is none.
        later: the earlier cuts whose frontiers later phases will read, the earliest first.
        keys: the row keys of each split, `(rows, 16)` uint8.
        seconds: what these took (`digest`), and all the rest (`prepare`).
    """

    parts: Cut
    stored: tuple[FrontierTensor, ...]
    plan: Plan
    fingerprint: Fingerprint
    store: PrefixCache
    open_store: Opener
    link: Link | None
    later: tuple[Earlier, ...]
    keys: dict[str, np.ndarray]
    seconds: dict[str, float]


def cache_folder(folder: str | Path | None = None) -> Path:
    """Return where activations are kept: `folder`, else `$REUSE_CACHE`, else `./cache`."""
    return Path(folder or os.environ.get("REUSE_CACHE") or "cache")


def feed_inputs(model: nn.Module, data: Dataset, compute: Compute) -> Feed:
    """Return the inputs themselves, for training the whole model."""
    return Feed(model, {name: _inputs(getattr(data, name), compute) for name in SPLITS})


def prepare(
    model: nn.Module,
    data: Dataset,
    objective: Objective,
    compute: Compute,
    cache: CacheSettings,
    epochs: int,
    later: Sequence[Collection[nn.Parameter]] = (),
) -> Prepared:
    """Cut the model, look up what is cached, and plan; computes no activations yet.

    Args:
        model: with its frozen layers, on the device and in the type of `compute`.
        data: the rows.
        objective: what will be trained.
        compute: where and in which types.
        cache: where activations are kept.
        epochs: how many are to be trained.
        later: for each later phase that may read a cache, the frozen parameters that will train by then.

    Raises:
        CutError: the model cannot be cut; the message says why.
    """
    begun = time.perf_counter()
    inputs, targets = _sample(data.train, compute)
    model.train()  # the key holds the modes of the prefix: always the same ones
    with autocast(compute.precision, compute.device):
        parts = cut(model, inputs)
    stored = _stored(parts, cache.dtype)
    started = time.perf_counter()
    keys = {name: getattr(data, name).inputs.digests() for name in SPLITS}
    digest_seconds = time.perf_counter() - started
    opened, description = cache.open(), {"model": type(model).__name__, "data": data.name}

    def print_of(prefix: fx.GraphModule, frontier: tuple[FrontierTensor, ...]) -> Fingerprint:
        types = {f"stored/{tensor.name}": str(tensor.dtype) for tensor in frontier}
        dtype = torch.bfloat16 if compute.precision == "bfloat16" else compute.dtype
        preprocessing = {**data.preprocessing.to_dict(), **types}
        return fingerprint(prefix, preprocessing=preprocessing, dtype=dtype, device=compute.device)

    def place(prints: Fingerprint, frontier: tuple[FrontierTensor, ...]) -> PrefixCache:
        return opened.open(prints, frontier, {**description, "frontier": ", ".join(f.name for f in frontier)})

    def open_store(prefix: fx.GraphModule, frontier: tuple[FrontierTensor, ...]) -> PrefixCache:
        return place(print_of(prefix, frontier), frontier)

    prints = print_of(parts.prefix, stored)
    store = place(prints, stored)
    every = np.concatenate([keys[name] for name in SPLITS])
    lacking = every[store.missing(every)]
    link = find_link(bridges(parts.earlier), open_store, lacking) if opened.root.is_dir() else None
    with autocast(compute.precision, compute.device):
        plan = make_plan(
            parts,
            sum(tensor.row_bytes for tensor in stored),
            objective,
            (inputs,),
            targets,
            rows=len(every),
            missing=len(lacking),
            epochs=epochs,
            device=compute.device,
        )
    seconds = {"prepare": time.perf_counter() - begun - digest_seconds, "digest": digest_seconds}
    cuts = _cuts_of_phases(parts, later)
    stored_bytes = len(every) * sum(cut.bytes_per_sample for cut in cuts) + plan.bytes
    if cache.budget is not None and stored_bytes > cache.budget:
        cuts = ()  # one frontier at a time
    return Prepared(parts, stored, plan, prints, store, open_store, link, cuts, keys, seconds)


def _cuts_of_phases(parts: Cut, later: Sequence[Collection[nn.Parameter]]) -> tuple[Earlier, ...]:
    """Return the cuts at which phases will be cut that train more and more layers, the earliest first."""
    cuts: list[Earlier] = []
    for training in later:
        own = {id(parameter) for parameter in training}
        possible = (e for e in parts.earlier if own.isdisjoint(map(id, e.prefix.parameters())))
        deepest = next(possible, None)
        if deepest is not None and deepest not in cuts:
            cuts.append(deepest)
    return tuple(reversed(cuts))


def describe_plan(prepared: Prepared) -> list[str]:
    """Return the plan in lines for a person."""
    plan = prepared.plan
    frontier = ", ".join(f"{f.name} {f.shape} {dtype_name(f.dtype)}" for f in prepared.stored)
    computed = f"{plan.missing} of {plan.rows} rows to compute" if plan.missing else f"all {plan.rows} rows are cached"
    if prepared.link is not None:
        computed += f", {prepared.link.rows} of them from what is cached before {prepared.link.earlier.behind[0]}"
    cached, plain, later = map(format_seconds, (plan.with_cache, plan.without_cache, plan.later))
    once, each = format_seconds(plan.frozen_seconds), format_seconds(plan.suffix_seconds)
    lines = [
        f"frontier: {frontier}; {plan.bytes_per_sample} bytes a sample, {format_bytes(plan.bytes)} in all; {computed}",
        (
            f"plan for {format_epochs(plan.epochs)}: {cached} with the cache, {plain} without, {later} once cached; "
            f"the frozen layers take {once}, the rest {each} an epoch"
        ),
    ]
    if prepared.parts.uncached:
        lines.append(f"computed every epoch though frozen, behind layers that train: {_few(prepared.parts.uncached)}")
    if not plan.cache:
        lines.append(f"no cache: {plan.reason}")
    return lines


def feed_activations(prepared: Prepared, data: Dataset, compute: Compute, reporter: Reporter) -> Feed:
    """Compute what is missing and return the activations of all splits.

    What later phases will read is computed on the way: the earliest frontier first, each deeper one from that before.

    Raises:
        CacheError: the cache is damaged or cannot be written.
    """
    started = time.perf_counter()
    keys = np.concatenate([prepared.keys[name] for name in SPLITS])
    rows = Joined([getattr(data, name).inputs for name in SPLITS])

    def read(positions: np.ndarray) -> tuple[Tensor, ...]:
        (inputs,) = rows.gather(torch.from_numpy(positions))
        return (_moved(inputs, compute),)

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
    splits = {name: (_activations(prepared, name, compute), _targets(getattr(data, name), compute)) for name in SPLITS}
    found = {"computed": filled.computed, "found": filled.found}
    cache = {
        "hit": filled.computed == 0,
        "key": prepared.store.key,
        "path": str(prepared.store.path),
        "bytes": sum(f.row_bytes for f in prepared.stored) * sum(found.values()),
        "rows": found,
    }
    seconds = {**prepared.seconds, "cache": time.perf_counter() - started}
    return Feed(prepared.parts.suffix, splits, cache, seconds)


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
    resident, targets = split.inputs.resident(), _targets(split, compute)
    if resident is not None and resident.numel() * compute.dtype.itemsize < free_memory(compute.device) // 2:
        return Resident(_moved(resident, compute)), targets
    source = ReadInputs(split.inputs)
    return (source if compute.dtype == torch.float32 else Converted(source, (compute.dtype,))), targets


def _moved(inputs: Tensor, compute: Compute) -> Tensor:
    """Return inputs where and in the type in which is computed; tokens stay whole numbers."""
    return inputs.to(compute.device, compute.dtype if inputs.is_floating_point() else inputs.dtype)


def _targets(split: Split, compute: Compute) -> Tensor | None:
    if split.targets is None or not split.targets.is_floating_point():
        return split.targets
    return split.targets.to(compute.dtype)


def _sample(split: Split, compute: Compute) -> tuple[Tensor, Tensor | None]:
    rows = torch.arange(min(SAMPLE_ROWS, len(split)))
    inputs = _moved(split.inputs.gather(rows)[0], compute)
    targets = _targets(split, compute)
    return inputs, None if targets is None else targets[rows].to(compute.device)


def _stored(parts: Cut, dtype: str | None) -> tuple[FrontierTensor, ...]:
    """Return the frontier as it is stored: floating-point tensors in the type asked for."""
    if dtype is None:
        return parts.frontier
    other = choose_dtype(dtype)
    return tuple(replace(t, dtype=other) if t.dtype.is_floating_point else t for t in parts.frontier)


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

"""Preparing a training on cached activations: the cut, what is stored of it already, and the plan."""

import math
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from reuse.caching.cache import ActivationCache
from reuse.caching.fingerprint import Fingerprint, fingerprint
from reuse.caching.packing import choose_storage, packed
from reuse.caching.store import PrefixCache
from reuse.chaining import Link, Opener, bridges, find_link
from reuse.compute import Compute, moved, targets_of
from reuse.data.dataset import SPLITS, Dataset, Split
from reuse.devices import dtype_name, free_memory
from reuse.layers.cutting import Cut, cut
from reuse.layers.earlier import Earlier
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.objectives.objective import Batch, Objective
from reuse.planning.measuring import typical
from reuse.planning.options import Place, Run, Work
from reuse.planning.plan import Plan, Stepping, Wish, make_plan, measure_work
from reuse.training.precision import autocast
from reuse.units import format_bytes, format_epochs, format_seconds
from reuse.viewing import Viewing

CACHE_KINDS: dict[str, str | None] = {"auto": None, "disk": "disk", "memory": "memory"}
SAMPLE_ROWS = 64  # that a cut is found on and measured with
SMALLER = ("float16", "bfloat16", "int8")  # types that a plan weighs beside that in which is computed

Stored = tuple[FrontierTensor, ...]


@dataclass(frozen=True)
class CacheSettings:
    """What the user says about the cache.

    Attributes:
        use: False for `--no-cache`.
        folder: where; None: `$REUSE_CACHE` or `./cache`.
        dtype: in which type activations are stored; None: as computed.
        budget: bytes that all caches together may take; None: no limit.
        kind: `disk` or `memory`; None: what is best.
    """

    use: bool = True
    folder: str | Path | None = None
    dtype: str | None = None
    budget: int | None = None
    kind: str | None = None

    def open(self) -> ActivationCache:
        """Return the cache."""
        return ActivationCache(cache_folder(self.folder), self.budget)


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
        viewing: versions of the training rows that are stored too; None where there are none.
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
    viewing: Viewing | None = None


def cache_folder(folder: str | Path | None = None) -> Path:
    """Return where activations are kept: `folder`, else `$REUSE_CACHE`, else `./cache`."""
    return Path(folder or os.environ.get("REUSE_CACHE") or "cache")


def prepare(
    model: nn.Module,
    data: Dataset,
    objective: Objective,
    compute: Compute,
    cache: CacheSettings,
    epochs: int,
    later: Sequence[Collection[nn.Parameter]] = (),
    *,
    stepping: Stepping | None = None,
    batch_size: int = SAMPLE_ROWS,
    began: Mapping[str, Any] | None = None,
    viewing: Viewing | None = None,
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
        stepping: makes training steps, which are measured; None: forward and backward alone are.
        batch_size: of these steps.
        began: what a run that is resumed began with: `kind` and `behind` as in `Plan`; None: what is best.
        viewing: versions of the training rows that are to be stored too.

    Raises:
        CutError: the model cannot be cut; the message says why.
    """
    begun = time.perf_counter()
    inputs, targets = _sample(data.train, compute)
    model.train()  # the key holds the modes of the prefix: always the same ones
    with autocast(compute.precision, compute.device):
        parts = cut(model, inputs)
    started = time.perf_counter()
    keys = {name: getattr(data, name).inputs.digests() for name in SPLITS}
    changed = [] if viewing is None else [inputs.digests() for inputs in viewing.changed.values()]
    digest_seconds = time.perf_counter() - started
    places = _Places(cache.open(), data, compute, type(model).__name__)
    every = np.concatenate([*(keys[name] for name in SPLITS), *changed])
    lacking = every[places.of(parts.prefix, parts.frontier, cache.dtype).missing(every)]
    link = find_link(bridges(parts.earlier), places.of, lacking) if places.known else None
    rows = {name: len(keys[name]) for name in SPLITS}
    coming = [] if viewing is None else [inputs.digests() for inputs in viewing.later.values()]
    views = 1 + len(changed)
    memory, stay = free_memory(compute.device) // 2, data.train.inputs.fits()
    run = Run(rows, epochs, views + len(coming), memory, cache.budget, views, stay)
    with autocast(compute.precision, compute.device):
        steps = stepping or partial(_half_steps, objective)
        work, nodes = measure_work(parts, steps, (inputs,), targets, batch_size, compute.precision)
    work = replace(work, reading=_reading_seconds(data.train, compute))
    seen = _places_of(
        parts, work, nodes, places, every, link, cache.dtype, np.concatenate([keys["train"][:0], *coming])
    )
    plan = make_plan(seen, work, run, Wish(cache.dtype, cache.kind, places.opened.root))
    if began is not None:
        plan = replace(plan, cache=began["kind"] != "none", kind=began["kind"], behind=tuple(began["behind"]))
    cuts = _cuts_of_phases(parts, later)
    if plan.cache and plan.behind:
        kept = next(earlier for earlier in parts.earlier if earlier.behind == plan.behind)
        with autocast(compute.precision, compute.device):
            parts = cut(model, inputs, keep=kept.signatures)
        cuts, link = _cuts_of_phases(parts, later), None
    prints = places.print_of(parts.prefix, parts.frontier, cache.dtype)
    stored_bytes = run.stored_rows * sum(cut.bytes_per_sample for cut in cuts) + plan.bytes
    if cache.budget is not None and stored_bytes > cache.budget:
        cuts = ()  # one frontier at a time
    seconds = {"prepare": time.perf_counter() - begun - digest_seconds, "digest": digest_seconds}
    store = places.place(prints, parts.frontier, cache.dtype)
    return Prepared(parts, store.stored, plan, prints, store, places.of, link, cuts, keys, seconds, viewing)


class _Places:
    """Where the activations of each prefix of a model are kept."""

    def __init__(self, opened: ActivationCache, data: Dataset, compute: Compute, model: str) -> None:
        self.opened, self.known = opened, opened.root.is_dir()
        self._preprocessing, self._compute = data.preprocessing.to_dict(), compute
        self._description = {"model": model, "data": data.name}

    def print_of(self, prefix: fx.GraphModule, frontier: Stored, stored_as: str | None = None) -> Fingerprint:
        types = {f"stored/{tensor.name}": str(tensor.dtype) for tensor in packed(frontier, stored_as)}
        dtype = torch.bfloat16 if self._compute.precision == "bfloat16" else self._compute.dtype
        preprocessing = {**self._preprocessing, **types}
        return fingerprint(prefix, preprocessing=preprocessing, dtype=dtype, device=self._compute.device)

    def place(self, prints: Fingerprint, frontier: Stored, stored_as: str | None = None) -> PrefixCache:
        names = ", ".join(f.name for f in frontier)
        return self.opened.open(prints, frontier, {**self._description, "frontier": names}, stored_as)

    def of(self, prefix: fx.GraphModule, frontier: Stored, stored_as: str | None = None) -> PrefixCache:
        return self.place(self.print_of(prefix, frontier, stored_as), frontier, stored_as)


def _places_of(
    parts: Cut,
    work: Work,
    nodes: Mapping[str, float],
    places: _Places,
    keys: np.ndarray,
    link: Link | None,
    dtype: str | None,
    coming: np.ndarray,
) -> list[Place]:
    """Return the cuts that a plan weighs: the deepest, and each earlier one that stores less than all deeper ones.

    Args:
        parts: the deepest.
        work: what was measured.
        nodes: seconds a row of each node of the prefix.
        places: where activations are kept.
        keys: of the rows that are read at first.
        link: what spares rows of the deepest cut the layers before it.
        dtype: in which type they are stored.
        coming: of the versions that take the place of others later.
    """
    found: list[Place] = []
    smallest = math.inf
    cuts: Sequence[Cut | Earlier] = (parts, *parts.earlier)
    for cut_at in cuts:
        bytes_of = _bytes_of(cut_at.frontier)
        if min(bytes_of.values()) >= smallest:
            continue
        smallest = min(bytes_of.values())
        frozen = sum(nodes.get(node.name, 0.0) for node in cut_at.prefix.graph.nodes)
        every = np.concatenate([keys, coming])
        missing = len(set(map(bytes, every)))
        if places.known:
            missing = len(places.of(cut_at.prefix, cut_at.frontier, dtype).missing(every))
        spared = 0.0
        if link is not None and cut_at is parts:
            before = sum(nodes.get(node.name, 0.0) for node in link.earlier.prefix.graph.nodes)
            spared = link.rows * (work.reading + before)
        behind, computing = cut_at.behind if isinstance(cut_at, Earlier) else (), missing * (work.reading + frozen)
        found.append(Place(behind, min(frozen, work.frozen), bytes_of, missing, computing - spared))
    return found


def _bytes_of(frontier: Stored) -> dict[str, int]:
    """Return the bytes of a row by the type in which its floating-point numbers are stored, the exact one first."""
    exact = next((t.dtype for t in frontier if t.dtype.is_floating_point), torch.float32)
    names = dict.fromkeys([dtype_name(exact), *(n for n in SMALLER if choose_storage(n).itemsize < exact.itemsize)])
    return {name: sum(t.row_bytes for t in packed(frontier, name)) for name in names}


def _half_steps(objective: Objective, network: nn.Module) -> Callable[[Batch], object]:
    def step(batch: Batch) -> None:
        losses = list(objective.losses(network, batch).values())
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]

    return step


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
    rows = plan.stored_rows
    computed = f"{plan.missing} of {rows} rows to compute" if plan.missing else f"all {rows} rows are cached"
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
    if prepared.viewing is not None and plan.cache:
        lines.append(f"views: {prepared.viewing}")
    if plan.cache and plan.kind == "memory":
        lines.append("the activations are kept in memory alone")
    if plan.cache and plan.behind:
        lines.append(f"computed every epoch though frozen, as less is stored before them: {_few(plan.behind)}")
    elif prepared.parts.uncached:
        lines.append(f"computed every epoch though frozen, behind layers that train: {_few(prepared.parts.uncached)}")
    if not plan.cache:
        lines.append(f"no cache: {plan.reason}")
    return lines


def _sample(split: Split, compute: Compute) -> tuple[Tensor, Tensor | None]:
    rows = torch.arange(min(SAMPLE_ROWS, len(split)))
    inputs = moved(split.inputs.gather(rows)[0], compute)
    targets = targets_of(split, compute)
    return inputs, None if targets is None else targets[rows].to(compute.device)


def _reading_seconds(split: Split, compute: Compute) -> float:
    """Return the seconds a row of reading and preparing the inputs, where they do not lie ready."""
    rows = torch.arange(min(SAMPLE_ROWS, len(split)))
    return typical(lambda: moved(split.inputs.gather(rows)[0], compute), compute.device) / len(rows)


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

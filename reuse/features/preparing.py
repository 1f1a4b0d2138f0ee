"""Preparing a training on cached activations: the cut, what is stored of it already, and the plan."""

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reuse.augmenting.views import Viewing
from reuse.caching.cache import ActivationCache
from reuse.caching.chaining import Link, Opener, bridges, find_link
from reuse.caching.store import PrefixCache
from reuse.data.dataset import SPLITS, Dataset, Split, targets_of
from reuse.data.rows import Batch
from reuse.devices import Compute, dtype_name, free_memory, moved
from reuse.features.placing import PrefixCaches, weighed_places
from reuse.fingerprinting.fingerprint import Fingerprint
from reuse.layers.cutting import Cut, cut
from reuse.layers.earlier import EarlierCut
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.objectives.objective import Objective
from reuse.planning.options import Run
from reuse.planning.plan import Plan, PlanConstraints, make_plan
from reuse.planning.workload import MakeStep, Timings, conditions, find_timings, measure_work
from reuse.training.precision import autocast
from reuse.units import format_bytes, format_epochs, format_seconds

CACHE_KINDS: dict[str, str | None] = {"auto": None, "disk": "disk", "memory": "memory"}
SAMPLE_ROWS = 64  # that a cut is found on and measured with


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
        measured: what later runs need not measure again; None where this run need not either, or measured otherwise.
    """

    parts: Cut
    stored: tuple[FrontierTensor, ...]
    plan: Plan
    fingerprint: Fingerprint
    store: PrefixCache
    open_store: Opener
    link: Link | None
    later: tuple[EarlierCut, ...]
    keys: dict[str, np.ndarray]
    seconds: dict[str, float]
    viewing: Viewing | None = None
    measured: Timings | None = None


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
    stepping: MakeStep | None = None,
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
    caches = PrefixCaches(cache.open(), data, compute, type(model).__name__)
    every = np.concatenate([*(keys[name] for name in SPLITS), *changed])
    deepest = caches.of(parts.prefix, parts.frontier, cache.dtype)
    lacking = every[deepest.missing(every)]
    link = find_link(bridges(parts.earlier), caches.of, lacking) if caches.known else None
    rows = {name: len(keys[name]) for name in SPLITS}
    coming = [] if viewing is None else [inputs.digests() for inputs in viewing.later.values()]
    views = 1 + len(changed)
    memory, inputs_stay = free_memory(compute.device) // 2, all(s.inputs.fits() for s in (data.train, data.valid))
    run = Run(rows, epochs, views + len(coming), memory, cache.budget, views, inputs_stay)
    here = None if stepping is None else conditions(compute.device, batch_size, compute.precision)
    known = find_timings(deepest.path, here, parts) if here is not None and not len(lacking) else None
    steps = stepping or partial(_half_steps, objective)
    with autocast(compute.precision, compute.device):
        read = partial(_read, data.train, torch.arange(len(inputs)), compute)
        work, nodes = measure_work(parts, steps, (inputs,), targets, batch_size, compute.precision, read, known)
    keys_of_all = np.concatenate([every, *coming])
    seen = weighed_places(parts, work, nodes, caches, keys_of_all, link, cache.dtype)
    constraints = PlanConstraints(cache.dtype, cache.kind, caches.opened.root)
    plan = replace(make_plan(seen, work, run, constraints), remembered=known is not None)
    if began is not None:
        plan = replace(plan, cache=began["kind"] != "none", kind=began["kind"], behind=tuple(began["behind"]))
    cuts = _cuts_of_phases(parts, later)
    if plan.cache and plan.behind:
        kept = next(earlier for earlier in parts.earlier if earlier.behind == plan.behind)
        with autocast(compute.precision, compute.device):
            parts = cut(model, inputs, keep=kept.signatures)
        cuts, link = _cuts_of_phases(parts, later), None
    prints = caches.print_of(parts.prefix, parts.frontier, cache.dtype)
    stored_bytes = run.stored_rows * sum(cut.bytes_per_sample for cut in cuts) + plan.bytes
    if cache.budget is not None and stored_bytes > cache.budget:
        cuts = ()  # one frontier at a time
    seconds = {"prepare": time.perf_counter() - begun - digest_seconds, "digest": digest_seconds}
    store = caches.with_print(prints, parts.frontier, cache.dtype)
    new = None
    if here is not None and known is None and not plan.behind:
        new = Timings(here, work.whole - work.suffix, list(nodes.values()))
    return Prepared(parts, store.stored, plan, prints, store, caches.of, link, cuts, keys, seconds, viewing, new)


def _half_steps(objective: Objective, network: nn.Module) -> Callable[[Batch], object]:
    def step(batch: Batch) -> None:
        losses = list(objective.losses(network, batch).values())
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]

    return step


def _cuts_of_phases(parts: Cut, later: Sequence[Collection[nn.Parameter]]) -> tuple[EarlierCut, ...]:
    """Return the cuts at which phases will be cut that train more and more layers, the earliest first."""
    cuts: list[EarlierCut] = []
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
    once += ", as an earlier run measured" if plan.remembered else ""
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
    rows, targets = torch.arange(min(SAMPLE_ROWS, len(split))), targets_of(split, compute)
    return _read(split, rows, compute), None if targets is None else targets[rows].to(compute.device)


def _read(split: Split, rows: Tensor, compute: Compute) -> Tensor:
    return moved(split.inputs.gather(rows)[0], compute)


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

"""The plan of features: the cut of a model, what is cached of its rows, and the choice; nothing is computed yet."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from reuse.augmenting.views import Viewing
from reuse.caching.chaining import Stored
from reuse.caching.store import PrefixCache
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.devices import Compute, dtype_name
from reuse.errors import RunError
from reuse.features.choosing import Upcoming, choose
from reuse.features.cutting import cut_model, cuts_of_phases, sample_rows
from reuse.features.lookup import Lookup, key_rows, look_up, open_caches
from reuse.hints import Hints
from reuse.layers.earlier import EarlierCut
from reuse.layers.parts import Cut
from reuse.listing import some_of
from reuse.objectives.objective import Network, Objective
from reuse.planning.plan import Plan
from reuse.planning.workload import Timings
from reuse.settings.caching import StoringSettings
from reuse.units import format_bytes, format_epochs, format_seconds

SHOWN = 4  # layers in a line
LONG_CUT = 1.0  # seconds from which on a plan says what the cut cost


@dataclass(frozen=True)
class PlannedFeatures:
    """The features that frozen layers will give of the rows of a data set, and what they cost; none is computed yet.

    Attributes:
        parts: the cut.
        lookup: what the cache holds for it, and where.
        plan: what was measured, and chosen.
        later: the earlier cuts whose frontiers later phases will read, the earliest first.
        viewing: versions of the training rows that are stored too; None where there are none.
        measured: what later runs need not measure again; None where there is nothing new.
        seconds: what these took (`digest`), and all the rest (`prepare`); of that, what finding and checking the cut
            took (`cut`), next to nothing where it was known.
    """

    parts: Cut
    lookup: Lookup
    plan: Plan
    later: tuple[EarlierCut, ...]
    viewing: Viewing | None
    measured: Timings | None
    seconds: dict[str, float]

    @property
    def store(self) -> PrefixCache:
        """The place of the activations."""
        return self.lookup.store

    @property
    def stored(self) -> Stored:
        """The frontier as it is stored: in the type that the user chose, or as computed."""
        return self.lookup.store.stored

    @property
    def frontier(self) -> tuple[dict[str, Any], ...]:
        """Name, shape and type of each tensor at the cut, as it is stored."""
        return tuple({"name": f.name, "shape": list(f.shape), "dtype": dtype_name(f.dtype)} for f in self.stored)


def plan_features(
    model: nn.Module,
    data: Dataset,
    compute: Compute,
    storing: StoringSettings,
    upcoming: Upcoming,
    viewing: Viewing | None = None,
    hints: Hints | None = None,
) -> PlannedFeatures:
    """Cut a model, look up what is cached of its rows, and choose a cache; computes no activations yet.

    Args:
        model: with its frozen layers, on the device and in the type of `compute`.
        data: the rows.
        compute: where and in which types.
        storing: what the user says about the cache.
        upcoming: the training that is to come.
        viewing: versions of the training rows that are to be stored too.
        hints: which know the cuts that earlier runs checked; None: none is known.

    Raises:
        CutError: the model cannot be cut, or that costs more than it spares; the message says why.
    """
    begun = time.perf_counter()
    sample = sample_rows(data, compute)
    spared = _spared(data, upcoming, viewing) if upcoming.optional else None
    parts = cut_model(model, sample, hints=hints, spared=spared)
    started = time.perf_counter()
    keys = key_rows(data, viewing)
    digest_seconds = time.perf_counter() - started
    found = look_up(parts, keys, open_caches(storing, data, compute, type(model).__name__), storing.cache_dtype)
    plan, measured = choose(parts, found, sample, data, storing, upcoming)
    later = cuts_of_phases(parts, upcoming.later)
    if plan.cache and plan.behind:  # less is stored before some of the frozen layers
        kept = next((earlier for earlier in parts.earlier if earlier.behind == plan.behind), None)
        if kept is None:  # a plan chooses among them; a run may say anything
            raise RunError(
                f"the run says that {', '.join(plan.behind)} is computed behind its cache, and no cut is there: its "
                "run.json is damaged; restore it or train again"
            )
        parts = cut_model(model, sample, keep=kept.signatures, hints=hints)
        found = replace(look_up(parts, keys, found.caches, storing.cache_dtype), link=None)
        later = cuts_of_phases(parts, upcoming.later)
    if storing.cache_budget is not None and _bytes(plan, later) > storing.cache_budget:
        later = ()  # one frontier at a time
    seconds = {"prepare": time.perf_counter() - begun - digest_seconds, "digest": digest_seconds}
    seconds["cut"] = started - begun
    return PlannedFeatures(parts, found, plan, later, viewing, measured, seconds)


def _spared(data: Dataset, upcoming: Upcoming, viewing: Viewing | None) -> int:
    """Return how many rows a cache would spare the frozen layers: in this training, or in the next if that is more."""
    rows = len(data.train) + len(data.valid)
    changed = 0 if viewing is None else len(viewing.changed) + len(viewing.later)
    stored = rows + changed * len(data.train)
    return max(rows * upcoming.epochs - stored, stored)


def half_steps(objective: Objective, network: Network) -> Callable[[Batch], object]:
    """Return what takes a step as far as the gradients, for a plan of a training that has no trainer yet."""

    def step(batch: Batch) -> None:
        losses = list(objective.losses(network, batch).values())
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]

    return step


def _bytes(plan: Plan, later: Sequence[EarlierCut]) -> int:
    """Return the bytes of all frontiers that would be stored."""
    return plan.stored_rows * sum(cut.bytes_per_sample for cut in later) + plan.bytes


def describe_plan(features: PlannedFeatures) -> list[str]:
    """Return the plan in lines for a person."""
    plan = features.plan
    frontier = ", ".join(f"{f.name} {f.shape} {dtype_name(f.dtype)}" for f in features.stored)
    rows = plan.stored_rows
    computed = _cached(plan.missing, rows)
    if (link := features.lookup.link) is not None:
        computed += f"; {link.rows} of them go on from what is cached before {link.earlier.behind[0]}"
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
    if features.seconds["cut"] >= LONG_CUT:
        lines.append(_cut_line(features.seconds["cut"], plan.frozen_seconds))
    if features.viewing is not None and plan.cache:
        lines.append(f"views: {features.viewing}")
    if plan.cache and plan.kind == "memory":
        lines.append("the activations are kept in memory alone")
    if plan.cache and plan.behind:
        lines.append(
            f"computed every epoch though frozen, as less is stored before them: {some_of(plan.behind, SHOWN)}"
        )
    elif features.parts.uncached:
        lines.append(
            f"computed every epoch though frozen, behind layers that train: {some_of(features.parts.uncached, SHOWN)}"
        )
    if not plan.cache:
        lines.append(f"no cache: {plan.reason}")
    if plan.elapsed:
        spent = f"of which {format_seconds(plan.elapsed)} went into starting, reading and planning"
        beside = f", and {format_seconds(plan.beside)} go into what is trained after this" if plan.beside else ""
        lines.append(f"the command as a whole: about {format_seconds(plan.total)}, {spent}{beside}")
    return lines


def _cached(missing: int, rows: int) -> str:
    """Return how many of so many rows are cached, in words."""
    if not missing:
        return f"all {rows} rows are cached"
    return f"{rows} rows, none cached yet" if missing == rows else f"{rows} rows, {missing} not cached yet"


def _cut_line(seconds: float, frozen_seconds: float) -> str:
    share = ""
    if seconds > frozen_seconds > 0:
        share = ", longer than the frozen layers take for all rows"
    elif frozen_seconds:
        share = f", {seconds / frozen_seconds:.0%} of what the frozen layers take for all rows"
    return f"checking the cut: about {format_seconds(seconds)} the first time{share}; later runs remember it"

"""The choice of a cache: what each cut and each kind of cache would cost, measured, and the best of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from reuse.data.dataset import Dataset
from reuse.devices import free_memory
from reuse.features.cutting import SAMPLE_ROWS, Sample, cuts_of_phases
from reuse.features.lookup import Lookup, RowKeys
from reuse.layers.parts import Cut
from reuse.menus import lookup
from reuse.nn.by_name import by_position
from reuse.planning.options import Run, Work, thawed_epoch, through_frozen
from reuse.planning.places import seconds_before, weighed_places
from reuse.planning.plan import CACHE_KINDS, Plan, PlanConstraints, make_plan
from reuse.planning.workload import MakeStep, Tally, Timings, conditions, describe_rest, find_timings, measure_work
from reuse.precision import autocast
from reuse.runs.manifest import CacheChoice
from reuse.settings.caching import StoringSettings


@dataclass(frozen=True)
class Upcoming:
    """The training that features are for.

    Attributes:
        epochs: how many are to be trained.
        stepping: makes training steps, which are measured.
        batch_size: rows of these steps.
        comparable: whether steps are measured as they are trained, so that later runs may go by them.
        later: for each later phase that may read a cache, the frozen parameters that will train by then.
        began: where the activations were kept when the phase began, in a run that is resumed; None: what is best.
        optional: whether it can go without: a cut is not looked for where that would cost more than it can spare.
        tally: measures a network on a batch, as validation does; None: nobody says how.
    """

    epochs: int
    stepping: MakeStep
    batch_size: int = SAMPLE_ROWS
    comparable: bool = True
    later: Sequence[Collection[nn.Parameter]] = ()
    began: CacheChoice | None = None
    optional: bool = False
    tally: Tally | None = None


def choose(
    parts: Cut, found: Lookup, sample: Sample, data: Dataset, storing: StoringSettings, upcoming: Upcoming
) -> tuple[Plan, Timings | None]:
    """Measure the work, weigh all cuts and kinds of cache, and choose; nothing is measured where an earlier run did.

    Args:
        parts: the deepest cut.
        found: what the cache holds for it.
        sample: rows to measure with.
        data: the rows.
        storing: what the user says about the cache.
        upcoming: the training that is to come.

    Returns:
        The plan, and what later runs need not measure again; None where this run need not either, or the plan cuts
        earlier.
    """
    compute = sample.compute
    here = conditions(compute.device, upcoming.batch_size, compute.precision) if upcoming.comparable else None
    known = find_timings(found.store.path, here, parts) if here is not None else None
    rest = describe_rest(parts)
    if known is not None and known.rest == rest:
        names = [node.name for node in parts.prefix.graph.nodes]
        work, nodes = known.work(), dict(zip(names, known.nodes, strict=True))
    else:
        work, nodes = _measured(parts, sample, upcoming, known)
    places = weighed_places(parts, work, nodes, found.caches, found.keys.all, found.link, storing.cache_dtype)
    kind = lookup(CACHE_KINDS, storing.cache_kind, "cache kind")
    constraints = PlanConstraints(storing.cache_dtype, kind, found.caches.opened.root)
    run = _run(found.keys, data, compute.device, storing, upcoming.epochs)
    plan = make_plan(places, work, run, constraints)
    later = tuple(thawed_epoch(work, run, _thawed(parts, training, work, nodes)) for training in upcoming.later)
    plan = replace(plan, remembered=known is not None, later_epochs=later)
    if (began := upcoming.began) is not None:
        plan = replace(plan, cache=began.kind != "none", kind=began.kind, behind=began.behind)
    if here is None or plan.behind or (known is not None and known.rest == rest):
        return plan, None
    through = max(0.0, work.whole - work.suffix)
    return plan, Timings(here, through, list(nodes.values()), rest, work.suffix, work.measured, work.reading)


def _thawed(parts: Cut, training: Collection[nn.Parameter], work: Work, nodes: Mapping[str, float]) -> float:
    """Return seconds a row, without gradients, of the frozen layers that train or lie behind those that do."""
    cuts = cuts_of_phases(parts, [training])
    return work.frozen - seconds_before(cuts[0], nodes) if cuts else through_frozen(work)


def _measured(parts: Cut, sample: Sample, upcoming: Upcoming, known: Timings | None) -> tuple[Work, dict[str, float]]:
    """Return seconds a row, and those of each node of the prefix; `known` spares measuring the frozen layers."""
    compute = sample.compute
    with autocast(compute.precision, compute.device):
        return measure_work(
            parts,
            upcoming.stepping,
            sample.inputs,
            sample.targets,
            upcoming.batch_size,
            compute.precision,
            sample.read,
            known,
            by_position(parts.suffix.model, sample.layout),
            upcoming.tally,
        )


def _run(keys: RowKeys, data: Dataset, device: torch.device, storing: StoringSettings, epochs: int) -> Run:
    """Return what a plan must know of the training beside its work."""
    views = 1 + len(keys.changed)
    return Run(
        rows={name: len(some) for name, some in keys.splits.items()},
        epochs=epochs,
        views=views + len(keys.coming),
        memory=free_memory(device) // 2,
        budget=storing.cache_budget,
        at_once=views,
        inputs_stay=all(split.inputs.fits() for split in (data.train, data.valid)),
    )

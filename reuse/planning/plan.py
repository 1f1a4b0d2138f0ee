"""The plan of one training: every option measured or worked out, and the one that is chosen.

With frozen forward F and suffix epoch h (seconds for all rows), E epochs and K views, the gain over computing the
frozen layers again each epoch is E (F + h) / (K F + E h): at most E / K on the first run, (F + h) / h on later ones.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reuse.planning.measuring import ORDINARY, SMALL_BYTES, measure_bandwidths
from reuse.planning.options import (
    Candidate,
    Option,
    Run,
    Work,
    allowed,
    choose,
    epoch_seconds,
    fastest_first,
    measuring_seconds,
    thawed_epoch,
    through_frozen,
    with_caches,
    without_cache,
)
from reuse.units import format_bytes, format_epochs, format_seconds

HEADINGS = ("", "cut", "cache", "bytes", "this run", "later runs", "pays from")
LEGEND = (
    "* chosen; cut: the layer that the cached activations stand before, or the deepest; cache: where and as what they",
    "are stored, ~ rounded; this run: predicted, with all that is to be computed; later runs: once all is cached; pays",
    "from: the epoch from which on it takes less time than no cache",
)


@dataclass(frozen=True)
class Plan:
    """Costs and gains of a cache in one training.

    Attributes:
        cache: whether the activations are cached.
        reason: why not, else empty.
        rows: rows of all splits together.
        missing: rows that would have to be computed at the deepest cut.
        epochs: as asked for; early stopping may end sooner.
        bytes_per_sample: of the frontier that is chosen, or of the best where none is.
        bytes: of all rows and views.
        frozen_seconds: F, the frozen layers in front of the deepest cut once over all rows.
        suffix_seconds: h, an epoch behind it: training on the training rows, measuring on the validation rows.
        with_cache: predicted seconds of this run with the best cache.
        without_cache: predicted seconds of this run without one.
        later: predicted seconds of a later run, everything cached.
        kind: `disk` or `memory`, of the best cache.
        behind: frozen layers that are computed in every epoch with it, as that stores less; none at the deepest cut.
        options: all that was weighed; the first is that without a cache.
        views: versions of each training row, as it is and changed, that are stored; 1 without any that are changed.
        stored_rows: rows of all splits and versions; 0: as `rows`.
        remembered: whether the frozen layers were measured by an earlier run, under the same conditions.
        elapsed: seconds that the command had taken when the plan was made, imports and all; 0: nobody has said.
        whole_epoch: predicted seconds of an epoch in which all layers train.
        whole_measuring: predicted seconds of reading and measuring all rows once with the whole model.
        later_epochs: predicted seconds of an epoch of each later phase of several epochs.
        beside: predicted seconds of what comes after it: later phases, and the trainings that it is compared with.
    """

    cache: bool
    reason: str
    rows: int
    missing: int
    epochs: int
    bytes_per_sample: int
    bytes: int
    frozen_seconds: float
    suffix_seconds: float
    with_cache: float
    without_cache: float
    later: float
    kind: str = "disk"
    behind: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    views: int = 1
    stored_rows: int = 0
    remembered: bool = False
    elapsed: float = 0.0
    whole_epoch: float = 0.0
    whole_measuring: float = 0.0
    later_epochs: tuple[float, ...] = ()
    beside: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stored_rows", self.stored_rows or self.rows)

    @property
    def total(self) -> float:
        """Predicted seconds of the command, from its start to the end of all that it trains."""
        return self.elapsed + self.own + self.beside

    @property
    def own(self) -> float:
        """Predicted seconds of the training, as it is cached or not."""
        return self.with_cache if self.cache else self.without_cache

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "total": self.total}


CACHE_KINDS: dict[str, str | None] = {"auto": None, "disk": "disk", "memory": "memory"}
"""Names of the kinds of cache, with the kind that a plan is bound to; None: the better one."""


@dataclass(frozen=True)
class PlanConstraints:
    """Constraints of the user on the cache of a plan.

    Attributes:
        dtype: type in which activations are stored; None: as computed.
        kind: `disk` or `memory`; None: the better one.
        folder: of the cache.
    """

    dtype: str | None
    kind: str | None
    folder: Path


def make_plan(candidates: Sequence[Candidate], work: Work, run: Run, constraints: PlanConstraints) -> Plan:
    """Weigh every cut and kind of cache against computing the frozen layers anew, and choose.

    Args:
        candidates: the cuts, the deepest first.
        work: measured seconds.
        run: rows, epochs and memory of the training.
        constraints: of the user.
    """
    largest = max(max(candidate.bytes.values()) for candidate in candidates) * run.stored_rows
    is_large = largest > SMALL_BYTES and candidates[0].missing > 0
    speeds = measure_bandwidths(constraints.folder) if is_large else ORDINARY
    options = [without_cache(work, run)]
    for candidate in candidates:
        options += with_caches(candidate, work, run, speeds)
    chosen = choose(options, constraints.dtype, constraints.kind)
    cached = chosen.kind != "none"
    best = chosen if cached else _best_cache(allowed(options, constraints.dtype, constraints.kind))
    return Plan(
        cache=cached,
        reason="" if cached else _reason(best, run),
        rows=run.all_rows,
        missing=candidates[0].missing,
        epochs=run.epochs,
        bytes_per_sample=best.bytes_per_sample,
        bytes=best.bytes,
        frozen_seconds=work.frozen * run.all_rows,
        suffix_seconds=epoch_seconds(work, run),
        with_cache=best.first,
        without_cache=options[0].first,
        later=best.later,
        kind=best.kind,
        behind=best.behind,
        options=tuple(options),
        views=run.views,
        stored_rows=run.stored_rows,
        whole_epoch=thawed_epoch(work, run, through_frozen(work)),
        whole_measuring=measuring_seconds(work, run),
    )


def plan_table(plan: Plan) -> list[str]:
    """Return the options of a plan in lines, the shortest run first; with a legend under them."""
    chosen = ("none" if not plan.cache else plan.kind, plan.behind if plan.cache else ())
    rows: list[tuple[str, ...]] = [HEADINGS]
    for option in fastest_first(plan.options):
        is_chosen = (option.kind, option.behind) == chosen and option.bytes == (plan.bytes if plan.cache else 0)
        rows.append((("*" if is_chosen else ""), *_cells(option)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [*(_line(row, widths) for row in rows), *LEGEND]


def _best_cache(caches: Sequence[Option]) -> Option:
    """Return the cache that would be taken if one had to be."""
    fitting = [option for option in caches if not option.why_not]
    return min(fitting, key=lambda o: o.first) if fitting else min(caches, key=lambda o: o.bytes)


def _reason(best: Option, run: Run) -> str:
    if best.why_not:
        return f"the smallest would take {format_bytes(best.bytes)}: {best.why_not}"
    return f"it would take longer than it saves in {format_epochs(run.epochs)}"


def _cells(option: Option) -> tuple[str, ...]:
    if option.kind == "none":
        seconds = format_seconds(option.first)
        return "", "none", "", seconds, seconds, ""
    cut = f"before {option.behind[0]}" if option.behind else "deepest"
    kind = f"{option.kind} {option.dtype}" + ("" if option.exact else " ~")
    pays = option.why_not or ("never" if option.pays_from is None else f"epoch {option.pays_from}")
    return cut, kind, format_bytes(option.bytes), format_seconds(option.first), format_seconds(option.later), pays


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

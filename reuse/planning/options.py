"""Options of a plan: a cut and a kind of cache each, with what it would take and save; and the choice among them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reuse.planning.measuring import Bandwidths

EPOCH_SECONDS = 0.004  # what an epoch takes beside its batches: a line of history, the weights of the best epoch
BUILD_SECONDS = 0.03  # what making a cache on disk takes beside its rows
BACKWARD = 2.0  # times as long as a forward pass: the gradients of what comes in, and of the weights
LOADING = 1.5e9  # bytes a second at which a cache is read into memory and checked
NEARLY = 1.1  # an option that helps later runs may take so many times as long as the fastest,
UNNOTICED = 0.05  # or so many seconds longer: nothing is to be computed twice for what nobody notices


@dataclass(frozen=True)
class Work:
    """Measured seconds a row of the parts of a training.

    Attributes:
        frozen: the frozen layers in front of the deepest cut, without gradients.
        suffix: a training step of the layers behind it.
        whole: a training step of the whole model, the frozen layers included.
        measured: validation of the layers behind the deepest cut.
        reading: reading and preparing the inputs.
    """

    frozen: float
    suffix: float
    whole: float
    measured: float
    reading: float = 0.0


@dataclass(frozen=True)
class Run:
    """Size of a training, and the room for its cache.

    Attributes:
        rows: of each split.
        epochs: E.
        views: K, versions of each training row that are stored, the row as it is among them.
        memory: bytes that a cache may take in memory.
        budget: bytes that it may take on disk; None: what the disk has.
        at_once: number of the versions that are read by turns; 0: all.
        inputs_stay: whether inputs that are read in every epoch are prepared once and stay in memory.
    """

    rows: Mapping[str, int]
    epochs: int
    views: int
    memory: int
    budget: int | None
    at_once: int = 0
    inputs_stay: bool = True

    @property
    def all_rows(self) -> int:
        """Rows of all splits."""
        return sum(self.rows.values())

    @property
    def stored_rows(self) -> int:
        """Rows of all splits, the training rows once for each view."""
        return self.all_rows + (self.views - 1) * self.rows["train"]

    @property
    def rows_at_once(self) -> int:
        """Rows that memory must hold: a version that takes the place of another lies beside it for a while."""
        versions = self.views if self.at_once == 0 else min(self.views, self.at_once + 1)
        return self.all_rows + (versions - 1) * self.rows["train"]


@dataclass(frozen=True)
class Candidate:
    """A cut that a plan weighs.

    Attributes:
        behind: the frozen layers behind it, which the suffix computes in every epoch; none at the deepest cut.
        frozen: seconds a row of the frozen layers in front of it.
        bytes: of a row, by type of the stored floating-point numbers; the type in which they are computed first.
        missing: rows, views included, that are not cached yet.
        to_compute: seconds that the missing rows take, reading included, those that an earlier cache spares left out.
    """

    behind: tuple[str, ...]
    frozen: float
    bytes: Mapping[str, int]
    missing: int
    to_compute: float


@dataclass(frozen=True)
class Option:
    """A cut and a kind of cache, with predicted seconds and bytes.

    Attributes:
        kind: `disk`, `memory` or `none`.
        behind: the frozen layers that are computed in every epoch all the same; none at the deepest cut.
        dtype: in which type floating-point numbers are stored.
        exact: whether values are read as they were computed.
        bytes_per_sample: of a row.
        bytes: of all rows and views.
        first: predicted seconds of this run.
        later: predicted seconds of a run that finds what this one has stored.
        ready: whether all of it is cached already.
        pays_from: the first epoch after which this one is ahead of no cache; None where it never is.
        why_not: why it cannot be, else empty.
    """

    kind: str
    behind: tuple[str, ...] = ()
    dtype: str = ""
    exact: bool = True
    bytes_per_sample: int = 0
    bytes: int = 0
    first: float = 0.0
    later: float = 0.0
    ready: bool = False
    pays_from: int | None = None
    why_not: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def without_cache(work: Work, run: Run) -> Option:
    """Return the option of computing the frozen layers anew in every epoch."""
    seconds = run.epochs * _epoch_without(work, run) + run.all_rows * (work.reading + work.frozen + work.measured)
    return Option("none", first=seconds, later=seconds)


def measuring_seconds(work: Work, run: Run) -> float:
    """Return the predicted seconds of reading and measuring all rows once with the whole model."""
    return run.all_rows * (work.reading + work.measured + through_frozen(work))


def thawed_epoch(work: Work, run: Run, again: float) -> float:
    """Return the seconds of an epoch in which layers train too that take `again` seconds a row without gradients."""
    return epoch_seconds(work, run, again) + run.rows["train"] * BACKWARD * again


def through_frozen(work: Work) -> float:
    """Return seconds a row of all frozen layers as a training step computes them, on few rows at a time."""
    return max(work.frozen, work.whole - work.suffix)


def with_caches(candidate: Candidate, work: Work, run: Run, speeds: Bandwidths) -> list[Option]:
    """Return the options of one cut: on disk in each type, and in memory."""
    exact, *_ = candidate.bytes
    kinds = [("disk", dtype) for dtype in candidate.bytes] + [("memory", exact)]
    return [_with_cache(kind, dtype, candidate, work, run, speeds) for kind, dtype in kinds]


def choose(options: Sequence[Option], dtype: str | None, kind: str | None) -> Option:
    """Return the option with the shortest run; of those nearly as short, one that makes later runs shorter.

    What rounds the activations is taken only where it is asked for.

    Args:
        options: the first of them without a cache.
        dtype: the type that the user wants stored; None: none that loses anything.
        kind: `disk` or `memory` where the user says so.
    """
    none = options[0]
    possible = [option for option in allowed(options, dtype, kind) if not option.why_not]
    if not possible:
        return none
    best = min(option.first for option in (none, *possible))
    most = max(NEARLY * best, best + UNNOTICED)
    nearly = [option for option in possible if option.first <= most and _helps(option, none)]
    if not nearly:  # what is all there is never declined: it was measured, and may be measured otherwise
        return min((o for o in possible if o.ready), key=lambda option: option.first, default=none)
    return min(nearly, key=lambda option: (option.kind != "disk", len(option.behind), option.first))


def _helps(option: Option, none: Option) -> bool:
    """Return whether a cache makes this run shorter, or later ones, which find on disk what this one stores."""
    return option.first <= none.first or (option.kind == "disk" and option.later <= none.later)


def allowed(options: Sequence[Option], dtype: str | None, kind: str | None) -> list[Option]:
    """Return the caches among some options that are as the user wants them; arguments as of `choose`."""
    return [
        option
        for option in options[1:]
        if (option.exact if dtype is None else option.dtype == dtype or option.kind == "memory")
        and (kind is None or option.kind == kind)
    ]


def fastest_first(options: Iterable[Option]) -> list[Option]:
    """Return options that can be, the shortest first run first, then those that cannot."""
    return sorted(options, key=lambda option: (bool(option.why_not), option.first))


def _with_cache(kind: str, dtype: str, candidate: Candidate, work: Work, run: Run, speeds: Bandwidths) -> Option:
    size = candidate.bytes[dtype]
    total = size * run.stored_rows
    fits = size * run.rows_at_once <= run.memory
    again = work.frozen - candidate.frozen
    gathering = size * run.rows["train"] / speeds.gathering
    reading = 0.0 if fits else size * (run.rows["train"] + run.rows["valid"]) / speeds.reading
    epoch = epoch_seconds(work, run, again) + gathering + reading
    measuring = run.all_rows * (work.measured + again)
    training = run.epochs * epoch + measuring
    loading = total / LOADING if fits else 0.0
    if kind == "memory":
        begin = run.stored_rows * (work.reading + candidate.frozen)
        later = begin + training
    else:
        begin = candidate.to_compute + size * candidate.missing / speeds.writing + loading
        begin += BUILD_SECONDS if candidate.missing else 0.0
        later = loading + training
    before = begin + measuring - run.all_rows * (work.reading + work.measured + work.frozen)
    return Option(
        kind=kind,
        behind=candidate.behind,
        dtype=dtype,
        exact=dtype == next(iter(candidate.bytes)),
        bytes_per_sample=size,
        bytes=total,
        first=begin + training,
        later=later,
        ready=kind == "disk" and not candidate.missing,
        pays_from=_pays_from(before, _epoch_without(work, run) - epoch),
        why_not=_why_not(kind, total, fits, run),
    )


def epoch_seconds(work: Work, run: Run, again: float = 0.0) -> float:
    """Return the seconds of an epoch on a frontier that is there: training, measuring on the validation rows.

    Args:
        work: measured seconds a row.
        run: how many rows there are.
        again: seconds a row of frozen layers behind the cut, which are computed in every epoch.
    """
    trained, validated = run.rows["train"], run.rows["valid"]
    return trained * (work.suffix + again) + validated * (work.measured + again) + EPOCH_SECONDS


def _epoch_without(work: Work, run: Run) -> float:
    trained, validated = run.rows["train"], run.rows["valid"]
    reading = 0.0 if run.inputs_stay else (trained + validated) * work.reading
    return trained * work.whole + validated * (work.measured + work.frozen) + reading + EPOCH_SECONDS


def _pays_from(before: float, saved: float) -> int | None:
    if before <= saved:
        return 1
    return math.ceil(before / saved) if saved > 0 else None


def _why_not(kind: str, total: int, fits: bool, run: Run) -> str:
    if kind == "memory":
        return "" if fits else "more than fits into memory"
    return "over the budget" if run.budget is not None and total > run.budget else ""

"""The plan of one training: every option measured or worked out, and the one that is chosen.

With frozen forward F and suffix epoch h (seconds for all rows), E epochs and K views, the gain over computing the
frozen layers again each epoch is E (F + h) / (K F + E h): at most E / K on the first run, (F + h) / h on later ones.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reuse.planning.measuring import ORDINARY, SMALL_BYTES, measure_bandwidths
from reuse.planning.options import Candidate, Option, Run, Work, allowed, choose, with_caches, without_cache
from reuse.units import format_bytes, format_epochs


@dataclass(frozen=True)
class Plan:
    """What a cache would cost and gain in one training.

    Attributes:
        cache: whether the activations are cached.
        reason: why not, else empty.
        rows: rows of all splits together.
        missing: rows that would have to be computed at the deepest cut.
        epochs: as asked for; early stopping may end sooner.
        bytes_per_sample: of the frontier that is chosen, or of the best where none is.
        bytes: of all rows and views.
        frozen_seconds: F, the frozen layers in front of the deepest cut once over all rows.
        suffix_seconds: h, training on all rows once, behind it.
        with_cache: predicted seconds of this run with the best cache.
        without_cache: predicted seconds of this run without one.
        later: predicted seconds of a later run, everything cached.
        kind: `disk` or `memory`, of the best cache.
        behind: frozen layers that are computed in every epoch with it, as that stores less; none at the deepest cut.
        options: all that was weighed; the first is that without a cache.
        views: versions of each training row, as it is and changed, that are stored; 1 without any that are changed.
        stored_rows: rows of all splits and versions; 0: as `rows`.
        remembered: whether the frozen layers were measured by an earlier run, under the same conditions.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "stored_rows", self.stored_rows or self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Wish:
    """What the user says about the cache.

    Attributes:
        dtype: in which type activations are stored; None: as computed.
        kind: `disk` or `memory`; None: what is best.
        folder: where they are kept.
    """

    dtype: str | None
    kind: str | None
    folder: Path


def gain(frozen: float, suffix: float, epochs: int, views: int = 1) -> float:
    """Return how many times faster caching is than computing the frozen layers anew each epoch.

    Args:
        frozen: seconds of the frozen layers over all rows, F.
        suffix: seconds of one epoch of the rest, h.
        epochs: E.
        views: K augmented versions of each row.

    Example:
        >>> round(gain(3.3, 0.016, 20), 1)
        18.3
    """
    return epochs * (frozen + suffix) / (views * frozen + epochs * suffix)


def make_plan(places: Sequence[Candidate], work: Work, run: Run, wish: Wish) -> Plan:
    """Weigh every cut and kind of cache against computing the frozen layers anew, and choose.

    Args:
        places: the cuts, the deepest first.
        work: what was measured.
        run: what is to be trained.
        wish: what the user says.
    """
    largest = max(max(place.bytes.values()) for place in places) * run.stored_rows
    speeds = measure_bandwidths(wish.folder) if largest > SMALL_BYTES else ORDINARY
    options = [without_cache(work, run)]
    for place in places:
        options += with_caches(place, work, run, speeds)
    chosen = choose(options, wish.dtype, wish.kind)
    cached = chosen.kind != "none"
    best = chosen if cached else _best_cache(allowed(options, wish.dtype, wish.kind))
    return Plan(
        cache=cached,
        reason="" if cached else _reason(best, run),
        rows=run.all_rows,
        missing=places[0].missing,
        epochs=run.epochs,
        bytes_per_sample=best.bytes_per_sample,
        bytes=best.bytes,
        frozen_seconds=work.frozen * run.all_rows,
        suffix_seconds=work.suffix * run.all_rows,
        with_cache=best.first,
        without_cache=options[0].first,
        later=best.later,
        kind=best.kind,
        behind=best.behind,
        options=tuple(options),
        views=run.views,
        stored_rows=run.stored_rows,
    )


def _best_cache(caches: Sequence[Option]) -> Option:
    """Return the cache that would be taken if one had to be."""
    fitting = [option for option in caches if not option.why_not]
    return min(fitting, key=lambda o: o.first) if fitting else min(caches, key=lambda o: o.bytes)


def _reason(best: Option, run: Run) -> str:
    if best.why_not:
        return f"the smallest would take {format_bytes(best.bytes)}: {best.why_not}"
    return f"it would take longer than it saves in {format_epochs(run.epochs)}"

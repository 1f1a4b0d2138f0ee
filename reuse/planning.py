"""The plan: what caching the frozen layers costs and gains on this machine, measured before anything is trained.

With frozen forward F and suffix epoch h (seconds for all rows), E epochs and K views, the gain over computing the
frozen layers again each epoch is E (F + h) / (K F + E h): at most E / K on the first run, (F + h) / h on later ones.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reuse.devices import synchronize
from reuse.layers.checking import unchanged_state
from reuse.layers.cutting import Cut
from reuse.objectives.objective import Batch, Objective
from reuse.units import format_epochs

WRITE_BANDWIDTH = 0.5e9  # bytes a second, a plain disk: what is written is small beside what is computed
SAMPLE_ROWS = 32


@dataclass(frozen=True)
class Plan:
    """What a cache would cost and gain in one training.

    Attributes:
        cache: whether the activations are cached.
        reason: why not, else empty.
        rows: rows of all splits together.
        missing: rows that would have to be computed.
        epochs: as asked for; early stopping may end sooner.
        bytes_per_sample: of the frontier.
        bytes: of all rows.
        frozen_seconds: F, the frozen layers once over all rows.
        suffix_seconds: h, one epoch of the rest.
        with_cache: predicted seconds of this run with the cache.
        without_cache: predicted seconds of this run without it.
        later: predicted seconds of a later run, everything cached.
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


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


def make_plan(
    parts: Cut,
    bytes_per_sample: int,
    objective: Objective,
    sample: tuple[Tensor, ...],
    targets: Tensor | None,
    *,
    rows: int,
    missing: int,
    epochs: int,
    device: torch.device,
) -> Plan:
    """Measure both parts of a cut on a sample of rows and decide whether a cache pays.

    Args:
        parts: the cut.
        bytes_per_sample: what is stored of a row.
        objective: what is trained.
        sample: inputs of a batch of rows, on `device`.
        targets: their targets, on `device`.
        rows: of all splits.
        missing: rows that are not cached yet.
        epochs: how many are to be trained.
        device: where.
    """
    size = len(sample[0])
    with torch.no_grad():
        frontier = parts.prefix(*sample)
        frozen = _seconds(lambda: parts.prefix(*sample), device) / size
    with unchanged_state(parts.suffix.model):
        parts.suffix.train()
        suffix = _seconds(lambda: _half_step(parts.suffix, objective, Batch(frontier, targets)), device) / size
    parts.suffix.model.zero_grad(set_to_none=True)
    total = bytes_per_sample * rows
    writing = bytes_per_sample * missing / WRITE_BANDWIDTH
    later = epochs * suffix * rows
    with_cache = missing * frozen + writing + later
    without = epochs * (frozen + suffix) * rows
    loses = with_cache > without
    reason = f"it would take longer than it saves in {format_epochs(epochs)}" if loses else ""
    return Plan(
        cache=not loses,
        reason=reason,
        rows=rows,
        missing=missing,
        epochs=epochs,
        bytes_per_sample=bytes_per_sample,
        bytes=total,
        frozen_seconds=frozen * rows,
        suffix_seconds=suffix * rows,
        with_cache=with_cache,
        without_cache=without,
        later=later,
    )


def _half_step(suffix: nn.Module, objective: Objective, batch: Batch) -> None:
    losses = list(objective.losses(suffix, batch).values())
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]


def _seconds(work: Callable[[], object], device: torch.device, repeats: int = 2) -> float:
    """Return the seconds of the fastest of a few calls; the cut's own check has warmed everything up."""
    best = float("inf")
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best

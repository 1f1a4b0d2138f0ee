"""What a cache held, and what it spared and cost."""

from collections.abc import Iterable
from typing import Any

from reuse.reports.record import RunRecord
from reuse.units import format_bytes, format_epochs, format_seconds


def describe_savings(record: RunRecord) -> Iterable[str]:
    """Yield in sentences what was cached, and the seconds that it spared and cost; nothing where nothing was cut."""
    cache: dict[str, Any] | None = record.told("cache")
    plan: dict[str, Any] = record.told("plan") or {}
    if cache is None:
        if plan.get("reason"):
            yield f"Nothing was cached: {plan['reason']}."
        return
    rows, kind = cache.get("rows", {}), cache.get("kind", "disk")
    counted = f"{rows.get('computed', 0):,} rows computed, {rows.get('found', 0):,} found there"
    counted += f", {later:,} computed for later phases" if (later := cache.get("later", 0)) else ""
    yield f"Cached: {format_bytes(cache.get('bytes', 0))} ({kind}); {counted}."
    epochs = _epochs_with_all_frozen(record)
    if epochs and plan.get("epochs") and {"without_cache", "later"} <= plan.keys():
        spared = max(0.0, plan["without_cache"] - plan["later"]) / plan["epochs"] * epochs
        yield _seconds(spared, (record.told("seconds") or {}).get("cache", 0.0), epochs)


def _epochs_with_all_frozen(record: RunRecord) -> int:
    """Return how many epochs went by before layers were unfrozen: those that the plan is about."""
    return min([record.epochs, *(phase.epoch - 1 for phase in record.phases[1:2])])


def _seconds(spared: float, cost: float, epochs: int) -> str:
    balance = f"{format_seconds(abs(spared - cost))} {'saved' if spared >= cost else 'more'} in this run"
    return (
        f"The frozen layers would have taken {format_seconds(spared)} in {format_epochs(epochs)}, as measured; "
        f"computing and storing what they give took {format_seconds(cost)}: {balance}."
    )

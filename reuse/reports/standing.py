"""The standing of each layer in a training: restored or fresh, frozen or trained, and when."""

from collections.abc import Sequence
from dataclasses import dataclass

from reuse.reports.record import RunRecord

RESTORED = "restored"


@dataclass(frozen=True)
class Standing:
    """The standing of a layer in a training.

    Attributes:
        kind: `frozen`, `trained`, `mixed` or `plain`, a layer without parameters.
        words: what became of it.
        is_restored: whether it began with the weights of a source.
    """

    kind: str
    words: str
    is_restored: bool = False


def standing_of(name: str, parameters: int, record: RunRecord) -> Standing:
    """Return what became of a layer in a training: restored or fresh, frozen or trained, and when.

    Args:
        name: of the layer.
        parameters: how many it has.
        record: of the run.
    """
    if not parameters:
        return Standing("plain", "")
    origins = {RESTORED: record.manifest.restored, "fresh": record.manifest.fresh}
    of_it = [word for word, names in origins.items() if is_among(name, names) or _holds(name, names)]
    origin = of_it[0] if len(of_it) == 1 else "partly restored" if of_it else ""
    phases = record.phases
    rested = [is_among(name, phase.frozen) for phase in phases]
    partly = any(_holds(name, phase.frozen) for phase in phases)
    kind = "mixed" if partly or len(set(rested)) > 1 else "frozen" if any(rested) else "trained"
    words = {"mixed": "partly frozen", "frozen": "frozen", "trained": "trained"}[kind]
    if len(set(rested)) > 1:
        first = next(phase.epoch for phase, rests in zip(phases, rested, strict=True) if rests != rested[0])
        words = f"{'frozen' if rested[0] else 'trained'} until epoch {first - 1}"
    return Standing(kind, ", ".join(word for word in (origin, words) if word), origin == RESTORED)


def is_among(name: str, layers: Sequence[str]) -> bool:
    """Return whether a layer or tensor is one of some layers, or lies in one."""
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


def _holds(name: str, layers: Sequence[str]) -> bool:
    """Return whether one of some layers lies in another."""
    return any(layer.startswith(f"{name}.") for layer in layers)

"""Phases of a training: which layers are frozen, and which train, from which epoch on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reuse.errors import UsageError


@dataclass(frozen=True)
class Phase:
    """Epochs in which the same layers are frozen.

    Attributes:
        first: number of its first epoch.
        last: number of its last epoch.
        unfrozen: patterns of the layers that train from this phase on.
        settled: names of the layers that freeze by themselves with this phase, with how much they changed before.
        stage: name of the stage of a pretraining that it is; empty where there are none.
    """

    first: int
    last: int
    unfrozen: tuple[str, ...] = ()
    settled: Mapping[str, float] = field(default_factory=dict)
    stage: str = ""


def read_phases(unfreeze: str | None, epochs: int) -> list[Phase]:
    """Return the phases that `unfreeze` asks for, in order; one where it is None.

    Args:
        unfreeze: `epochs:layers`, several separated by commas: `5:hidden2,10:all` keeps `hidden2` frozen for 5 epochs
            and everything else for 10. A layer without epochs before it goes with the entry before.
        epochs: of the whole run.

    Raises:
        UsageError: an entry is none of this, or its epochs do not rise or reach the end of the run.

    Example:
        >>> [(phase.first, phase.last, phase.unfrozen) for phase in read_phases("5:hidden2,10:all", 20)]
        [(1, 5, ()), (6, 10, ('hidden2',)), (11, 20, ('*',))]
    """
    changes = _read(unfreeze)
    starts = [1, *(after + 1 for after, _ in changes)]
    if starts != sorted(set(starts)):
        raise UsageError(f"unfreeze is {unfreeze!r}: the epochs must rise, as in 5:hidden2,10:all")
    if starts[-1] > epochs:
        raise UsageError(
            f"unfreeze is {unfreeze!r}, and the run ends after epoch {epochs}: unfreeze earlier, or train longer"
        )
    patterns: Sequence[tuple[str, ...]] = [(), *(tuple(layers) for _, layers in changes)]
    lasts = [*(start - 1 for start in starts[1:]), epochs]
    return [Phase(*three) for three in zip(starts, lasts, patterns, strict=True)]


def lay_out(stages: Mapping[str, int | None], epochs: int, begun: Mapping[str, int] | None = None) -> list[Phase]:
    """Return the phases that stages are trained in, one after the other; the last one ends with the run.

    Args:
        stages: names of the stages, with how many epochs each has; None: what is left to it.
        epochs: of the whole run.
        begun: first epochs of the stages that a run has begun, which stay.

    Raises:
        UsageError: there are fewer epochs than the stages need.

    Example:
        >>> [(phase.stage, phase.first, phase.last) for phase in lay_out({"hidden1": 5, "whole": None}, 20)]
        [('hidden1', 1, 5), ('whole', 6, 20)]
    """
    begun = begun or {}
    starts, after = list[int](), 1
    for name, length in stages.items():
        starts.append(begun.get(name, after))
        after = starts[-1] + (length or 1)
    if starts[-1] > epochs:
        raise UsageError(
            f"there are {len(stages)} stages ({', '.join(stages)}), the last one begins with epoch {starts[-1]}, and "
            f"the run ends after epoch {epochs}: give more epochs, or fewer to each layer"
        )
    lasts = [*(start - 1 for start in starts[1:]), epochs]
    return [Phase(first, last, stage=name) for name, first, last in zip(stages, starts, lasts, strict=True)]


def settle(phases: list[Phase], epoch: int, settled: Mapping[str, float]) -> None:
    """End the last phase after an epoch and let another begin, to the end of the run, in which more is frozen.

    Args:
        phases: in order; changed in place.
        epoch: the last one of the phase that ends.
        settled: layers that have settled, with their changes.

    Example:
        >>> phases = [Phase(1, 20)]
        >>> settle(phases, 4, {"hidden1": 0.01})
        >>> [(phase.first, phase.last, list(phase.settled)) for phase in phases]
        [(1, 4, []), (5, 20, ['hidden1'])]
    """
    last = phases.pop()
    phases += [replace(last, last=epoch), Phase(epoch + 1, last.last, settled=dict(settled))]


def _read(unfreeze: str | None) -> list[tuple[int, list[str]]]:
    changes: list[tuple[int, list[str]]] = []
    for entry in (unfreeze or "").split(","):
        before, colon, layer = entry.strip().partition(":")
        if colon and before.isdecimal() and layer:
            changes.append((int(before), ["*" if layer == "all" else layer]))
        elif entry.strip() and changes:
            changes[-1][1].append(entry.strip())
        elif entry.strip():
            raise UsageError(
                f"unfreeze is {unfreeze!r}: write epochs:layers, as in 5:hidden2,10:all, which keeps hidden2 frozen "
                "for 5 epochs and everything else for 10"
            )
    return changes

"""The phases that a run keeps, so that one that is interrupted anywhere goes on with the same ones."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from reuse.errors import UsageError
from reuse.runs.checkpoints import load_checkpoint, newest_epoch
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import CacheChoice, PhaseRecord, Settled
from reuse.training.phases import Phase, settle
from reuse.training.stopping import EarlyStopping


def remaining(phases: list[Phase], run: RunFolder) -> Iterator[Phase]:
    """Yield the phases that a run has not ended yet, at least the last one, and those that are added meanwhile.

    Args:
        phases: in order; more may be added while the last one trains.
        run: a new one, or one that goes on.
    """
    epoch = newest_epoch(run)
    number = sum(phase.last <= epoch for phase in phases[:-1])
    while number < len(phases):
        yield phases[number]
        number += 1


def record_phase(run: RunFolder, phase: PhaseRecord) -> None:
    """Keep in the run what a phase is before it trains, so that one that is killed at any moment tells of all of them.

    Args:
        run: where.
        phase: that begins, with the number of the first epoch that it has when nothing is resumed.
    """
    manifest = run.manifest()
    now = max(phase.epoch, newest_epoch(run) + 1)  # what has been trained was trained as it was recorded then
    others = tuple(other for other in manifest.phases if other.epoch < now)
    if now == phase.epoch or not others or others[-1].frozen != phase.frozen:
        run.write_manifest(replace(manifest, phases=(*others, replace(phase, epoch=now))))
    elif len(others) < len(manifest.phases):
        run.write_manifest(replace(manifest, phases=others))


def record_cache(run: RunFolder, epoch: int, choice: CacheChoice) -> None:
    """Keep where the activations of a phase are.

    Args:
        run: where it is kept.
        epoch: the first of the phase.
        choice: made for it.
    """
    manifest = run.manifest()
    run.write_manifest(replace(manifest, cached={**manifest.cached, epoch: choice}))


def settle_after(epoch: int, settled: Mapping[str, float], phases: list[Phase], run: RunFolder) -> None:
    """Let a phase begin in which what has settled is frozen, and keep it: it is decided once.

    Args:
        epoch: after which.
        settled: layers, with their changes.
        phases: so far; changed in place.
        run: where it is kept.
    """
    settle(phases, epoch, settled)
    changes = tuple(Settled(phase.first - 1, dict(phase.settled)) for phase in phases if phase.settled)
    run.write_manifest(replace(run.manifest(), settled=changes))


def settle_as_before(phases: list[Phase], run: RunFolder, stopping: EarlyStopping, *, watched: bool) -> None:
    """Part the phases as a run that is resumed had parted them, also where it was killed before it had kept that.

    Args:
        phases: as the settings alone say; changed in place.
        run: that goes on.
        stopping: a fresh one with the run's settings; it is loaded with what the run had seen.
        watched: whether layers freeze by themselves from here on too.

    Raises:
        UsageError: layers have frozen by themselves, and the settings now name phases.
    """
    kept = [entry for entry in run.manifest().settled if entry.epoch < phases[-1].last]
    if kept and len(phases) > 1:
        raise UsageError(f"layers of {run.path} have frozen by themselves: go on without unfreeze")
    for entry in kept:
        settle(phases, entry.epoch, entry.changes)
    saved = load_checkpoint(run) if watched else None
    if saved is None or saved[0]["epoch"] in [entry.epoch for entry in kept]:
        return
    trainer = saved[0]
    stopping.load_state_dict(saved[1])
    settled = trainer.get("settling", {}).get("settled", {})
    if settled and trainer["epoch"] < phases[-1].last and not stopping.is_over():
        settle_after(trainer["epoch"], settled, phases, run)

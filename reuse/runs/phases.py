"""What a run keeps of its phases, so that one that is interrupted anywhere goes on with the same ones."""

from collections.abc import Iterator, Mapping
from typing import Any

from reuse.devices import dtype_name
from reuse.errors import UsageError
from reuse.features.preparing import Prepared
from reuse.layers.freezing import Freezing
from reuse.objectives.objective import Objective
from reuse.runs.checkpoints import load_checkpoint, newest_epoch
from reuse.runs.folder import RunFolder
from reuse.setup.running import make_stopping
from reuse.training.phases import Phase, settle


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


def note_phase(run: RunFolder, phase: Phase, freezing: Freezing, prepared: Prepared | None) -> None:
    """Keep in the run what a phase is before it trains, so that one that is killed at any moment tells of all of them.

    Args:
        run: where.
        phase: that begins.
        freezing: what is frozen in it.
        prepared: its cut; None without one.
    """
    stored = prepared.stored if prepared else ()
    frontier = [{"name": f.name, "shape": list(f.shape), "dtype": dtype_name(f.dtype)} for f in stored]
    told = {"epoch": phase.first, "frozen": list(freezing.layers), "frontier": frontier}
    told |= {"settled": dict(phase.settled)} if phase.settled else {}
    now = max(phase.first, newest_epoch(run) + 1)  # what has been trained was trained as it was noted then
    others = [other for other in run.manifest().get("phases", ()) if other["epoch"] < now]
    if now == phase.first or not others or others[-1]["frozen"] != told["frozen"]:
        run.update_manifest(phases=[*others, {**told, "epoch": now}])
    elif len(others) < len(run.manifest()["phases"]):
        run.update_manifest(phases=others)


def settle_after(epoch: int, settled: Mapping[str, float], phases: list[Phase], run: RunFolder) -> None:
    """Let a phase begin in which what has settled is frozen, and keep it: it is decided once.

    Args:
        epoch: after which.
        settled: layers, with their changes.
        phases: so far; changed in place.
        run: where it is kept.
    """
    settle(phases, epoch, settled)
    changes = [{"epoch": phase.first - 1, "changes": dict(phase.settled)} for phase in phases if phase.settled]
    run.update_manifest(settled=changes)


def settle_as_before(phases: list[Phase], run: RunFolder, objective: Objective, settings: Mapping[str, Any]) -> None:
    """Part the phases as a run that is resumed had parted them, also where it was killed before it had kept that.

    Args:
        phases: as the settings alone say; changed in place.
        run: that goes on.
        objective: what it minimises.
        settings: with which it goes on.

    Raises:
        UsageError: layers have frozen by themselves, and the settings now name phases.
    """
    kept = [entry for entry in run.manifest().get("settled", ()) if entry["epoch"] < phases[-1].last]
    if kept and settings["unfreeze"]:
        raise UsageError(f"layers of {run.path} have frozen by themselves: go on without unfreeze")
    for entry in kept:
        settle(phases, entry["epoch"], entry["changes"])
    saved = load_checkpoint(run) if settings["auto_freeze"] is not False else None
    if saved is None or saved[0]["epoch"] in [entry["epoch"] for entry in kept]:
        return
    trainer, stopping = saved[0], make_stopping(objective, settings)
    stopping.load_state_dict(saved[1])
    settled = trainer.get("settling", {}).get("settled", {})
    if settled and trainer["epoch"] < phases[-1].last and not stopping.is_over():
        settle_after(trainer["epoch"], settled, phases, run)

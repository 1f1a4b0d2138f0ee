"""Snapshots: the weights of every few epochs, or of the end of each cycle of the rate, with their validation results.

snapshots/epoch-0010.safetensors   the whole model as it was after the epoch; what is frozen may train later
snapshots/epoch-0010.json          what the epoch came to
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from reuse.distributed import is_main
from reuse.errors import RunError, UsageError
from reuse.menus import parse_named
from reuse.reporting import Epoch
from reuse.runs.disk import saving
from reuse.runs.folder import RunFolder
from reuse.runs.models import SavedModel, load_model, load_whole
from reuse.runs.record_files import write_text
from reuse.runs.tensor_files import load_tensors_file, save_tensors

FOLDER, SUFFIX = "snapshots", ".safetensors"


def kept_epochs(
    every: int | None, epochs: int, *, schedule: object = "constant", warmup: float = 0.0, steps_per_epoch: int = 1
) -> Collection[int]:
    """Return the numbers of the epochs whose weights are kept.

    Where the rate restarts (`cosine:5`), these are the ends of cycles, where it is lowest: the members of a snapshot
    ensemble (Huang et al. 2017, https://arxiv.org/abs/1704.00109). A cycle that ends within an epoch counts with the
    whole epoch before.

    Args:
        every: how many epochs, or cycles, lie between two; None and 0 keep none.
        epochs: of the whole training.
        schedule: the setting.
        warmup: epochs before the first cycle.
        steps_per_epoch: optimizer steps.

    Raises:
        UsageError: a negative number, or one that is never reached.
    """
    if not every:
        return ()
    if every < 0:
        raise UsageError(f"snapshots is {every}: give every how many epochs the weights are kept, or None for never")
    cycles = _cycles(schedule)
    ends: Sequence[int] = range(1, epochs + 1)  # and no list: there may be very many
    if cycles > 1:
        ends = _cycle_ends(cycles, epochs, warmup, steps_per_epoch)
    if every > len(ends):
        unit = "epochs" if cycles == 1 else f"cycles of schedule {schedule!r}"
        raise UsageError(f"snapshots is {every}, and the training has {len(ends)} {unit}: give fewer")
    return ends[every - 1 :: every]


def save_snapshot(run: RunFolder, epoch: Epoch, tensors: Mapping[str, Tensor]) -> None:
    """Keep weights after an epoch.

    Args:
        run: where.
        epoch: what the epoch came to.
        tensors: of the model, by name.
    """
    with saving(run.path / FOLDER):
        (run.path / FOLDER).mkdir(exist_ok=True)
    path = _path(run, epoch.number)
    save_tensors(path, tensors)
    result = {"epoch": epoch.number, "train": epoch.train, "valid": epoch.valid, "learning_rate": epoch.learning_rate}
    write_text(path.with_suffix(".json"), json.dumps(result, indent=2) + "\n")


def forget_snapshots(run: RunFolder, after: int) -> None:
    """Remove the snapshots of epochs after `after`, which will be trained again."""
    for epoch in snapshot_epochs(run):
        if epoch > after and is_main():
            _path(run, epoch).unlink()
            _path(run, epoch).with_suffix(".json").unlink(missing_ok=True)


def snapshot_epochs(run: RunFolder) -> list[int]:
    """Return the numbers of the epochs of which there are snapshots, rising."""
    files = (run.path / FOLDER).glob(f"epoch-*{SUFFIX}")
    numbers = (path.stem.removeprefix("epoch-") for path in files)
    return sorted(int(number) for number in numbers if number.isdecimal())


def load_snapshot(run: str | Path, epoch: int, *, trust: bool = False) -> SavedModel:
    """Return the model of a finished run as it was after an epoch, ready to predict.

    Args:
        run: the folder.
        epoch: one of `snapshot_epochs`.
        trust: as for `reuse.load_model`.

    Raises:
        RunError: there is no such snapshot, or the run is missing, damaged or not finished.
        UsageError: the run names code, and `trust` is not given.
    """
    path = _existing(RunFolder.open(run), epoch)
    model = load_model(run, trust=trust)
    load_whole(model.network, load_tensors_file(path), path)
    return model


def snapshot_models(run: str | Path, *, trust: bool = False) -> list[SavedModel]:
    """Return the models of all snapshots of a finished run, the oldest first: the members of an ensemble.

    Args:
        run: the folder.
        trust: as for `reuse.load_model`.

    Raises:
        RunError: there are none, or the run is missing, damaged or not finished.
        UsageError: the run names code, and `trust` is not given.
    """
    epochs = snapshot_epochs(RunFolder.open(run))
    if not epochs:
        raise RunError(f"{run} has no snapshots: train with snapshots=10, which keeps those of every tenth epoch")
    return [load_snapshot(run, epoch, trust=trust) for epoch in epochs]


def _cycles(schedule: object) -> int:
    """Return how many times a schedule sets in, 1 where it does not restart."""
    if not isinstance(schedule, str):
        return 1
    named = parse_named(schedule, "schedule")
    cycles = [*named.positions, named.keywords.get("cycles", 1)][0]
    return int(cycles) if named.name == "cosine" and isinstance(cycles, int | float) and cycles > 1 else 1


def _cycle_ends(cycles: int, epochs: int, warmup: float, steps_per_epoch: int) -> list[int]:
    """Return the last whole epoch of each cycle, as `reuse.optim.curves.cosine` lays them out."""
    rise = round(warmup * steps_per_epoch)
    steps = max(steps_per_epoch * epochs - rise, 1)
    length = math.ceil(steps / cycles)
    ends = {(rise + min(length * cycle, steps)) // steps_per_epoch for cycle in range(1, cycles + 1)}
    return sorted(ends - {0})


def _path(run: RunFolder, epoch: int) -> Path:
    return run.path / FOLDER / f"epoch-{epoch:04d}{SUFFIX}"


def _existing(run: RunFolder, epoch: int) -> Path:
    path = _path(run, epoch)
    if not path.exists():
        found = ", ".join(map(str, snapshot_epochs(run))) or "none"
        raise RunError(f"{run.path} has no snapshot of epoch {epoch}: there are those of {found}")
    return path

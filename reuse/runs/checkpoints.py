"""Checkpoints: what going on with a training needs, written whole, one generation kept.

checkpoint/frozen.safetensors      what does not train, once
checkpoint/start.safetensors       what trains, as it began: until there is the first of
checkpoint/epoch-00007/            what trains: weights.safetensors, best.safetensors, state.pt, and their checksums
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reuse.distributed import is_main
from reuse.errors import RunError, UsageError
from reuse.files import check_file
from reuse.layers.pickles import opened_for_torch
from reuse.runs.checksums import CHECKSUMS, verify_checksums, write_checksums
from reuse.runs.disk import drafted, saving
from reuse.runs.folder import RunFolder
from reuse.runs.schema import check_state
from reuse.runs.tensor_files import FROZEN, load_tensors_file, save_shared, save_tensors
from reuse.training.state import live_tensors, load_tensors
from reuse.training.stopping import EarlyStopping
from reuse.training.trainer import Trainer

FOLDER = "checkpoint"
CONTENTS = {
    "trainer": ("epoch", "optimizer_class", "optimizer", "random"),
    "stopping": ("best", "best_epoch", "waited"),
}  # of state.pt
SUMMED = "checksums"
"""In state.pt: whether checksums of the files were written beside them, which earlier versions did not."""
CHECKPOINT_SECONDS = 1.0
"""The age at which a checkpoint is replaced: a head that trains for milliseconds an epoch does not wait for the disk,
and a kill costs a second."""
START = "start.safetensors"
ANCHORS = f"{FOLDER}/anchors.safetensors"
"""In a run folder: reused weights as they began, where the training is pulled towards them."""


def all_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer of `model` by name, not copied."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def savable_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return what `weights.safetensors` holds: the state dict, and the buffers that it leaves out.

    A buffer that is not saved may have been drawn at random (peft #1732).
    """
    return {**model.state_dict(keep_vars=True), **dict(model.named_buffers())}


def save_start(run: RunFolder, model: nn.Module) -> None:
    """Write the whole model as a training begins, so that it can be resumed whatever becomes of its source.

    What training does not change is written here once and for all.
    """
    folder = run.path / FOLDER
    with saving(folder):
        folder.mkdir(exist_ok=True)
    save_shared(folder / FROZEN, still_tensors(model), run.path.parent.glob(f"*/{FROZEN}"))
    save_tensors(folder / START, live_tensors(model))


def load_newest(run: RunFolder, model: nn.Module) -> None:
    """Put the whole model back as it was at the newest checkpoint, or at the start.

    Where other layers are frozen now than were before, what has come to rest is kept (see `keep_still`).

    Raises:
        RunError: a file is missing, damaged or of another model.
    """
    folder = run.path / FOLDER
    load_tensors(model, load_tensors_file(folder / FROZEN))
    newest = _newest(run)
    load_tensors(model, load_tensors_file(newest / "weights.safetensors" if newest else folder / START))
    keep_still(run, model)


def keep_still(run: RunFolder, model: nn.Module) -> None:
    """Write what has come to rest since the run began, in place of what the same layers were when they rested before.

    Until the next checkpoint the last one holds it too, so a kill at any moment loses nothing.

    Raises:
        RunError: what is written already is missing or damaged.
    """
    path = run.path / FOLDER / FROZEN
    frozen, still = load_tensors_file(path), still_tensors(model)
    if not all(name in frozen and _is_equal(frozen[name], tensor) for name, tensor in still.items()):
        save_tensors(path, {**frozen, **still})


def save_checkpoint(run: RunFolder, trainer: dict[str, Any], stopping: dict[str, Any]) -> None:
    """Write one generation beside the last and then remove the last; a kill leaves one of them whole.

    A generation that is there already stays: nothing has been trained since it was written. This is for a killed
    process; the disk is not waited for, as that takes longer than most epochs, so a power cut may leave the newest
    generation damaged, which loading it says.

    Args:
        run: where.
        trainer: `Trainer.state_dict()`.
        stopping: `EarlyStopping.state_dict()`.
    """
    if not is_main():
        return
    folder = run.path / FOLDER
    draft, final = folder / ".draft", folder / f"epoch-{trainer['epoch']:05d}"
    older = [generation for generation in _generations(run) if generation != final]
    if not final.exists():
        with saving(final), drafted(draft):
            _write_generation(draft, trainer, stopping)
            draft.replace(final)
    for unneeded in (draft, *older):
        shutil.rmtree(unneeded, ignore_errors=True)
    (folder / START).unlink(missing_ok=True)


class Saver:
    """Holds the state of a training after its last whole epoch, and writes it now and then.

    Args:
        trainer: that trains.
        stopping: with its best weights.
        run: where checkpoints go.

    Attributes:
        epoch: number of the epoch whose state is held.
        state: of trainer and stopping.
    """

    def __init__(self, trainer: Trainer, stopping: EarlyStopping, run: RunFolder) -> None:
        self._trainer, self._stopping, self._run = trainer, stopping, run
        self._written = time.perf_counter()
        self._hold()

    def keep(self) -> None:
        """Hold the state of now, and write it where the last checkpoint is old."""
        self._hold()
        if time.perf_counter() - self._written > CHECKPOINT_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the state that is held."""
        save_checkpoint(self._run, *self.state)
        self._written = time.perf_counter()

    def _hold(self) -> None:
        self.epoch, self.state = self._trainer.epoch, (self._trainer.state_dict(), self._stopping.state_dict())


def _write_generation(draft: Path, trainer: dict[str, Any], stopping: dict[str, Any]) -> None:
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_tensors(draft / "weights.safetensors", trainer["weights"])
    save_tensors(draft / "best.safetensors", stopping["weights"])
    rest = {
        SUMMED: True,
        "trainer": {name: value for name, value in trainer.items() if name != "weights"},
        "stopping": {name: value for name, value in stopping.items() if name != "weights"},
    }
    with (draft / "state.pt").open("wb") as file:  # torch's own writer does not say why it could not
        torch.save(rest, file)
    write_checksums(draft)


def load_checkpoint(run: RunFolder) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the newest trainer and stopping states, or None where the run has no checkpoint yet.

    Raises:
        RunError: the checkpoint is damaged.
    """
    newest = _newest(run)
    if newest is None:
        return None
    try:
        check_file(newest / "state.pt")
        with opened_for_torch(newest / "state.pt") as file:
            rest = torch.load(file, weights_only=True)
    except Exception as error:  # reading a damaged pickle raises anything
        raise RunError(
            f"{newest / 'state.pt'} is damaged: {(str(error).splitlines() or ['it is empty'])[0]}; train again"
        ) from error
    trainer, stopping = (_part(newest / "state.pt", rest, name) for name in CONTENTS)
    if rest.get(SUMMED) and not (newest / CHECKSUMS).exists():
        raise RunError(f"{newest / CHECKSUMS} is missing, which was written with the other files; train again")
    try:
        check_state(trainer, stopping, newest_epoch(run))
    except ValueError as error:
        raise RunError(f"{newest / 'state.pt'} is damaged: {error}; train again") from error
    trainer = {**trainer, "weights": load_tensors_file(newest / "weights.safetensors")}
    return trainer, {**stopping, "weights": load_tensors_file(newest / "best.safetensors")}


def _part(path: Path, rest: Any, name: str) -> dict[str, Any]:
    """Return the part `name` of what state.pt holds, after checking that it has its entries."""
    part = rest.get(name) if isinstance(rest, Mapping) else None
    found = part.keys() if isinstance(part, Mapping) else set()
    missing = [entry for entry in CONTENTS[name] if entry not in found]
    if part is None or missing:
        raise RunError(f"{path} is damaged: it holds no {name} state with {', '.join(missing)}; train again")
    return dict(part)


def newest_epoch(run: RunFolder) -> int:
    """Return after which epoch the newest checkpoint was written, 0 where there is none."""
    generations = _generations(run)
    return int(generations[-1].name.removeprefix("epoch-")) if generations else 0


def _newest(run: RunFolder) -> Path | None:
    """Return the folder of the newest generation, whose files are as they were written; None where there is none.

    Raises:
        RunError: a file is damaged.
    """
    generations = _generations(run)
    if not generations:
        return None
    verify_checksums(generations[-1])
    return generations[-1]


def _generations(run: RunFolder) -> list[Path]:
    found = (run.path / FOLDER).glob("epoch-*")
    return sorted((path for path in found if path.name.removeprefix("epoch-").isdecimal()), key=_epoch_of)


def _epoch_of(path: Path) -> int:
    return int(path.name.removeprefix("epoch-"))


def still_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that training does not change."""
    live = live_tensors(model)
    return {name: tensor for name, tensor in all_tensors(model).items() if name not in live}


def _is_equal(stored: Tensor, tensor: Tensor) -> bool:
    return torch.equal(stored.to(tensor.dtype), tensor.detach().cpu())


def kept_anchors(run: RunFolder) -> dict[str, Tensor]:
    """Return what a run keeps of the reused weights as they began.

    Raises:
        UsageError: it began without `l2_sp`, so they are not known any more.
        RunError: the file is damaged.
    """
    path = run.path / ANCHORS
    if not path.exists():
        raise UsageError(
            f"l2_sp pulls towards the reused weights as they began, and {run.path} began without it and has not kept "
            "them: leave it out, or begin a new run"
        )
    return load_tensors_file(path)

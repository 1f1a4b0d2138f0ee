"""Checkpoints: what going on with a training needs, written whole, one generation kept.

checkpoint/frozen.safetensors      what does not train, once
checkpoint/epoch-00007/            what trains: weights.safetensors, best.safetensors, state.pt
"""

import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reuse.errors import RunError
from reuse.runs.folder import RunFolder
from reuse.runs.tensor_files import load_tensors_file, save_tensors
from reuse.training.state import live_tensors, load_tensors

FOLDER = "checkpoint"


def all_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer of `model` by name, not copied."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def save_frozen(run: RunFolder, model: nn.Module) -> None:
    """Write what training does not change, once, at the start."""
    folder = run.path / FOLDER
    folder.mkdir(exist_ok=True)
    live = live_tensors(model)
    save_tensors(folder / "frozen.safetensors", {n: t for n, t in all_tensors(model).items() if n not in live})


def load_frozen(run: RunFolder, model: nn.Module) -> None:
    """Put back what `save_frozen` wrote.

    Raises:
        RunError: it is missing, damaged or of another model.
    """
    load_tensors(model, load_tensors_file(run.path / FOLDER / "frozen.safetensors"))


def save_checkpoint(run: RunFolder, trainer: dict[str, Any], stopping: dict[str, Any]) -> None:
    """Write one generation beside the last and then remove the last; a kill leaves one of them whole.

    Args:
        run: where.
        trainer: `Trainer.state_dict()`.
        stopping: `EarlyStopping.state_dict()`.
    """
    folder = run.path / FOLDER
    draft, final = folder / ".draft", folder / f"epoch-{trainer['epoch']:05d}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_tensors(draft / "weights.safetensors", trainer["weights"])
    save_tensors(draft / "best.safetensors", stopping["weights"])
    rest = {
        "trainer": {name: value for name, value in trainer.items() if name != "weights"},
        "stopping": {name: value for name, value in stopping.items() if name != "weights"},
    }
    torch.save(rest, draft / "state.pt")
    older = _generations(run)
    if final.exists():  # the same epoch again, after a resume
        shutil.rmtree(final)
    draft.replace(final)
    for generation in older:
        if generation != final:
            shutil.rmtree(generation, ignore_errors=True)


def load_checkpoint(run: RunFolder) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the newest trainer and stopping states, or None where the run has no checkpoint yet.

    Raises:
        RunError: the checkpoint is damaged.
    """
    generations = _generations(run)
    if not generations:
        return None
    newest = generations[-1]
    try:
        rest = torch.load(newest / "state.pt", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise RunError(f"{newest / 'state.pt'} is damaged: {str(error).splitlines()[0]}; train again") from error
    trainer = {**rest["trainer"], "weights": load_tensors_file(newest / "weights.safetensors")}
    return trainer, {**rest["stopping"], "weights": load_tensors_file(newest / "best.safetensors")}


def _generations(run: RunFolder) -> list[Path]:
    return sorted((run.path / FOLDER).glob("epoch-*"))

"""A deep net that is pretrained layer by layer and then fine-tuned on all labels, with the processor's minutes."""

from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from reuse.recipes.experiments.experiment import FigureColumn, Figures

import reuse

COLUMNS = (
    FigureColumn("test_error", "test error, %", 100),
    FigureColumn("valid_error", "validation error, %", 100),
    FigureColumn("pretraining_minutes", "pretraining, minutes of the processor", digits=1),
    FigureColumn("tuning_minutes", "fine-tuning, minutes of the processor", digits=1),
)


def pretrain_and_tune(
    objective: object | None, *, seed: int, model: dict[str, Any], pretraining: dict[str, Any], tuning: dict[str, Any]
) -> Figures:
    """Pretrain on the training rows without their labels, fine-tune all layers with them, and return the figures.

    Args:
        objective: of the pretraining; None: the same net from scratch, with the settings of the fine-tuning.
        seed: of all that is drawn.
        model: its spec, its options, its data.
        pretraining: other settings of the pretraining.
        tuning: other settings of the fine-tuning.
    """
    with TemporaryDirectory() as name:
        folder, started = Path(name), process_time()
        if objective is None:
            before, result = started, reuse.pretrain("supervised", seed=seed, out=folder / "run", **model, **tuning)
        else:
            places: dict[str, Any] = {"out": folder / "pretrained", "cache_dir": folder / "cache"}
            source = reuse.pretrain(objective, seed=seed, **places, **model, **pretraining).run
            before = process_time()
            result = reuse.finetune(source, seed=seed, out=folder / "run", **model, **tuning)
        errors = {f"{split}_error": 1 - result.metrics[split]["accuracy"] for split in ("test", "valid")}
        minutes = {"pretraining_minutes": before - started, "tuning_minutes": process_time() - before}
        return errors | {name: seconds / 60 for name, seconds in minutes.items()}

"""A deep net that is pretrained layer by layer and then fine-tuned on all labels, with the processor's minutes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from reuse.recipes.experiments.experiment import Experiment, FigureColumn, Figures
from reuse.recipes.experiments.recording import Record, run_experiment

import reuse

COLUMNS = (
    FigureColumn("test_error", "test error, %", 100),
    FigureColumn("valid_error", "validation error, %", 100),
    FigureColumn("pretraining_minutes", "pretraining, minutes of the processor", digits=1),
    FigureColumn("tuning_minutes", "fine-tuning, minutes of the processor", digits=1),
)

SCRATCH = "from scratch"
"""The row of the same net without pretraining, which has no settings."""

SMALL: dict[str, Any] = {"data": "digits", "model": "mlp:12,10,8"}
FEW: dict[str, Any] = {"epochs": 3}


@dataclass(frozen=True)
class Layerwise:
    """A net and how it is trained, beside the same net from scratch.

    Attributes:
        make: makes the objective of the pretraining from the settings of its row.
        model: the net's spec, its options, its data.
        pretraining: other settings of the pretraining.
        tuning: other settings of the fine-tuning.
        aim: the published error and the minutes in which it is to be reached, in words.
    """

    make: Callable[..., object]
    model: dict[str, Any]
    pretraining: dict[str, Any]
    tuning: dict[str, Any]
    aim: str


def run_layerwise(experiment: Experiment, how: Layerwise, quick: bool) -> dict[str, Any]:
    """Train both; quick: the digits of scikit-learn, narrow layers, an epoch a layer."""
    model = {**how.model, **SMALL} if quick else how.model
    few = FEW if quick else {}

    def measure(seed: int, **row: Any) -> Figures:
        objective = how.make(**{**row, **({"layer_epochs": 1} if quick else {})}) if row else None
        pretraining, tuning = {**how.pretraining, **few}, {**how.tuning, **few}
        return pretrain_and_tune(objective, seed=seed, model=model, pretraining=pretraining, tuning=tuning)

    def conclude(record: Record) -> list[str]:
        errors, minutes = record.means("test_error"), record.means("pretraining_minutes")
        (pretrained,) = experiment.rows.keys() - {SCRATCH}
        ours, scratch = (100 * errors[row] for row in (pretrained, SCRATCH))
        return [
            f"{ours:.2f} % after {minutes[pretrained]:.1f} minutes of pretraining; aimed at: {how.aim}",
            f"the same net from scratch: {scratch:.2f} %",
        ]

    record = run_experiment(experiment, measure, seeds=1, quick=quick, conclude=conclude)
    return {"run": str(record.path), "conclusions": record.conclusions}


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
        measured = [split for split in ("test", "valid") if result.metrics[split]]
        errors = {f"{split}_error": 1 - result.metrics[split]["accuracy"] for split in measured}
        minutes = {"pretraining_minutes": before - started, "tuning_minutes": process_time() - before}
        return errors | {name: seconds / 60 for name, seconds in minutes.items()}

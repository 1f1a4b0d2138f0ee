"""A recipe as one step of a pipeline: arrays come in, predictions with class names go out.

Another program has cleaned some measurements, most of them without a label. It calls a recipe, keeps the run folder,
and predicts with the saved model, which knows its own preprocessing and classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
from reuse.recipes.autoencoder_then_finetune import autoencoder_then_finetune
from sklearn.datasets import load_breast_cancer

import reuse


def clean() -> tuple[np.ndarray, np.ndarray]:
    """Return measurements (rows, 30) and diagnoses (rows,), as an earlier step of the pipeline would."""
    table = load_breast_cancer()
    return table.data.astype(np.float32), table.target_names[table.target]


def learn(measurements: np.ndarray, diagnoses: np.ndarray, out: Path, epochs: int) -> str:
    """Return the run folder of a classifier that has seen 40 diagnoses and all measurements."""
    outcome = autoencoder_then_finetune(
        (measurements, diagnoses),
        model="mlp:32,16,8",
        labels=40,
        pretrain_epochs=epochs,
        epochs=epochs,
        out=out,
    )
    return str(outcome["run"])


def predict(run: str, measurements: np.ndarray) -> list[str]:
    """Return the diagnosis of each row, (rows,)."""
    return [str(diagnosis) for diagnosis in reuse.load_model(run).predict(measurements)]


def main(quick: bool = False, out: str | Path = "runs/pipeline") -> dict[str, Any]:
    """Run the pipeline and return how many of the first ten predictions are right."""
    measurements, diagnoses = clean()
    run = learn(measurements, diagnoses, Path(out), epochs=5 if quick else 100)
    predicted = predict(run, measurements[:10])
    return {"run": run, "predicted": predicted, "right": int((np.array(predicted) == diagnoses[:10]).sum())}

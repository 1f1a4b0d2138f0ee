"""Train an autoencoder on all inputs, then a classifier on a few labels that begins with its lower layers.

Three classifiers see the same labelled rows: from scratch, with the autoencoder's lower layers frozen, and with all of
its layers restored and free to move.
"""

from pathlib import Path
from typing import Any

import reuse


def autoencoder_then_finetune(
    data: Any = "digits",
    *,
    model: str = "mlp:100,50,25",
    objective: str = "autoencoder",
    freeze: str = "hidden1,hidden2",
    labels: int | str = 100,
    pretrain_epochs: int = 100,
    epochs: int = 200,
    seed: int = 0,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Pretrain without labels, fine-tune with few, and compare with training from scratch.

    Args:
        data: a data spec or arrays.
        model: a model spec; the decoder is built from it.
        objective: `autoencoder` or `denoising_autoencoder`.
        freeze: patterns of the layers to freeze.
        labels: labelled rows in all, or `10/class`.
        pretrain_epochs: the greatest number of epochs of the autoencoder.
        epochs: the greatest number of epochs of each classifier.
        seed: of everything random.
        out: a folder for both runs; by default they go to `runs`.

    Returns:
        The reconstruction error on the test rows, the test metrics of the three classifiers, and the run of the frozen
        one, which `reuse.load_model` loads.

    Example:
        >>> autoencoder_then_finetune(labels="5/class")["comparison"]["frozen"]["accuracy"]  # doctest: +SKIP
        0.85
    """
    source = reuse.pretrain(
        objective,
        data=data,
        model=model,
        epochs=pretrain_epochs,
        seed=seed,
        out=Path(out) / "pretrain" if out else None,
    )
    result = reuse.finetune(
        source.run,
        freeze=freeze,
        data=data,
        labels=labels,
        epochs=epochs,
        seed=seed,
        compare=True,
        out=Path(out) / "finetune" if out else None,
    )
    return {
        "reconstruction_mse": source.metrics["test"]["mse"],
        "comparison": result.comparison,
        "cache": result.cache,
        "run": result.run,
    }


def main(quick: bool = False) -> dict[str, Any]:
    """Run it on the digits that scikit-learn ships."""
    return autoencoder_then_finetune(pretrain_epochs=5 if quick else 100, epochs=5 if quick else 200)

"""Train on one set of classes, then learn others from few labels with the lower layers frozen and computed once.

The lower layers of a net that tells eight digits apart serve two digits that it has never seen. Frozen, they are
computed once for every row; the second run finds them in the cache and computes none.
"""

from pathlib import Path
from typing import Any

import reuse


def frozen_finetune(
    data: Any = "digits",
    *,
    model: str = "mlp:100,50,25",
    known_classes: str = "0-7",
    new_classes: str = "8,9",
    freeze: str = "hidden1,hidden2",
    labels: int = 20,
    epochs: int = 100,
    seed: int = 0,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Pretrain on some classes, fine-tune on others with frozen layers, twice.

    Args:
        data: a data spec or arrays.
        model: a model spec.
        known_classes: classes with many labels.
        new_classes: classes with few.
        freeze: patterns of the layers to freeze.
        labels: labelled rows of the new classes in all.
        epochs: the greatest number of epochs of each training.
        seed: of everything random.
        out: a folder for the three runs; by default they go to `runs`.

    Returns:
        Test accuracies of the known and the new classes, frozen layers, the frontier, and the rows that each of the two
        fine-tunings computed and found.

    Example:
        >>> frozen_finetune(labels=20)["new_accuracy"] > 0.8  # doctest: +SKIP
        True
    """
    folders = {name: Path(out) / name if out else None for name in ("known", "first", "second")}
    source = reuse.pretrain(
        "supervised", data=data, model=model, classes=known_classes, epochs=epochs, seed=seed, out=folders["known"]
    )
    first, second = (
        reuse.finetune(
            source.run,
            freeze=freeze,
            data=data,
            classes=new_classes,
            labels=labels,
            epochs=epochs,
            learning_rate=rate,
            seed=seed,
            out=folders[name],
        )
        for name, rate in (("first", 1e-3), ("second", 3e-3))
    )
    return {
        "known_accuracy": source.metrics["test"]["accuracy"],
        "new_accuracy": first.metrics["test"]["accuracy"],
        "frozen": list(first.frozen),
        "frontier": list(first.frontier),
        "first_rows": first.cache["rows"] if first.cache else None,
        "second_rows": second.cache["rows"] if second.cache else None,
        "run": first.run,
    }


def main(quick: bool = False) -> dict[str, Any]:
    """Run it on the digits that scikit-learn ships."""
    return frozen_finetune(epochs=5 if quick else 100)

"""Few labels: any methods of pretraining against each other, and against four ways that need none.

Beating a net from scratch proves little: a linear model of the inputs, the same encoder untrained, or patches that
k-means found, often do so too. So these four always stand in the table, and a gain is over the best of them.
"""

from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reuse.recipes.experiments import (
    ALWAYS,
    DRAWS,
    FEW_LABEL_COLUMNS,
    MINUTES,
    UNFREEZE,
    Case,
    Comparison,
    Experiment,
    Record,
    conclude_gains,
    gains,
    plot_differences,
    results_folder,
    run_experiment,
    with_budget,
)

NETWORK: dict[str, Any] = {"model": "convnet:32,64", "activation": "relu"}
LAYERS = "conv*"
SOURCES = Path("runs") / "few_labels"
METHODS = (
    *("autoencoder", "denoising_autoencoder", "variational", "masked", "gan", "bigan"),
    *("simclr", "simsiam", "byol", "barlow_twins", "vicreg", "moco", "dino"),
    *("rotation", "jigsaw", "relative_patch", "inpainting"),
)
CLOTHES = "views=crop:0.3/mirror/brightness:0.4/contrast:0.4"
ON_CLOTHES = tuple(f"{method}:{CLOTHES}" for method in ("simclr", "moco", "barlow_twins", "byol"))
"""For Fashion-MNIST, whose rows may be mirrored: better than the default views on validation rows."""
SETS, LABELS = ("mnist", "fashion-mnist"), (10, 50, 100)
SOURCE: dict[str, Any] = {
    "batch_size": 128,
    "learning_rate": 1e-3,
    "valid_fraction": 0.02,
    "precision": "bfloat16",  # with channels last: three times as many epochs in the same minutes
    "channels_last": True,
}
IN_FLOAT32 = (
    *("autoencoder", "denoising_autoencoder", "variational", "masked", "gan", "bigan"),
    *("simsiam", "vicreg", "dino", "jigsaw", "relative_patch", "inpainting"),
)
"""Methods measured on a processor without bfloat16 arithmetic, where float32 has more epochs in the same minutes."""
CASES = {
    data: Case(data, data, NETWORK, LAYERS, SOURCE, own={way: {"precision": "float32"} for way in IN_FLOAT32})
    for data in (*SETS, "digits")
}


def rows(
    methods: tuple[str, ...],
    sets: tuple[str, ...] = SETS,
    labels: tuple[int, ...] = LABELS,
    minutes: float = MINUTES,
) -> dict[str, dict[str, Any]]:
    """Return a row for each set, number of labels and way."""
    cases = product(sets, labels, (*ALWAYS, *methods))
    return {name_of(*case, minutes): dict(zip(("data", "labels", "way"), case, strict=True)) for case in cases}


def name_of(data: str, labels: int, way: str, minutes: float = MINUTES) -> str:
    """Return what a row is called."""
    name: str = with_budget(f"{data}, {labels} a class, {way}", way, minutes)
    return name


QUICK_ROWS = rows(("autoencoder", "byol"))
EXPERIMENT = Experiment(
    "few_labels",
    "Few labels: methods of pretraining, and four ways without",
    "convnet:32,64 with ReLU, pretrained without labels on the training images, but for a fiftieth that shows "
    "the loss, for five processor minutes each of two times, in turn (ten a method), an epoch at least, batch 128, "
    "Adam 1e-3, bfloat16 "
    f"with channels last ({', '.join(IN_FLOAT32)}: float32, on a processor without bfloat16), "
    "each method with its own defaults but for what stands behind its name, which was chosen on "
    "validation rows; ten draws of 10, 50 and 100 labels a class, tested on all 10,000 test images. Frozen: a "
    "logistic regression on the encoder's features, its penalty and scale chosen by five folds of the labels. "
    "Everything trained: frozen for 10 epochs and then not, at most 100 epochs of Adam with patience 30, a fifth "
    "of the labels for validation, which choose the rate (1e-3 or 3e-4) and the epoch; the net from scratch has "
    "the same choices. Logistic regression: on the pixels. Untrained: the same encoder as it was drawn. K-means "
    "patches (Coates, Lee and Ng 2011): whitened 6x6 patches, 300 centres, triangle activation, quadrant "
    "pooling, logistic regression.",
    rows((*METHODS, *ON_CLOTHES)),
    FEW_LABEL_COLUMNS,
)


def main(
    quick: bool = False,
    methods: tuple[str, ...] = METHODS,
    minutes: float = MINUTES,
    sets: tuple[str, ...] = SETS,
    labels: tuple[int, ...] = LABELS,
) -> dict[str, Any]:
    """Compare methods on ten draws; quick: two methods, the digits of scikit-learn for all cases, an epoch, two draws.

    Hours that several calls may share: pretrainings stay in `runs/few_labels`, figures in the record, and a call goes
    on where an earlier one was stopped.

    Args:
        quick: in seconds.
        methods: names of `reuse pretrain --list`, with their settings.
        minutes: of the processor, for each pretraining.
        sets: data to compare on now; what an earlier call has measured stays in the table.
        labels: numbers of labels a class to compare on now.
    """
    with TemporaryDirectory() as folder, TemporaryDirectory() if quick else nullcontext(SOURCES) as sources:
        few = {"epochs": UNFREEZE + 1} if quick else {}
        comparison = Comparison(Path(folder), Path(sources), 0.0 if quick else minutes, few)
        digits = cache(lambda seed, way: comparison(seed, CASES["digits"], 5, way))

        def measure(seed: int, data: str, labels: int, way: str) -> dict[str, float]:
            found: dict[str, float] = digits(seed, way) if quick else comparison(seed, CASES[data], labels, way)
            return found

        wanted = QUICK_ROWS if quick else rows(methods, sets, labels, minutes)
        experiment = replace(EXPERIMENT, rows=QUICK_ROWS if quick else EXPERIMENT.rows | wanted)
        record = run_experiment(
            experiment, measure, seeds=2 if quick else DRAWS, quick=quick, conclude=conclude, rows=wanted
        )
    picture = results_folder(quick) / "few_labels.png"
    plot_differences(gains(record, prefixes()), picture, "points over the best without pretraining")
    return {"run": str(record.path), "plot": str(picture), "conclusions": record.conclusions}


def prefixes() -> list[str]:
    """Return what names of rows begin with."""
    return [name_of(data, labels, "") for data, labels in product(SETS, LABELS)]


def conclude(record: Record) -> list[str]:
    """Say of each method whether it gains over the best of the four ways without pretraining."""
    lines: list[str] = conclude_gains(record, prefixes())
    return lines

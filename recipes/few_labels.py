"""Few labels: any methods of pretraining against each other, and against four ways that need none.

Beating a net from scratch proves little: a linear model of the inputs, the same encoder untrained, or patches that
k-means found, often do so too. So these four always stand in the table, and a gain is over the best of them.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from reuse.recipes.experiments import (
    Experiment,
    Features,
    FigureColumn,
    PatchFeatures,
    Record,
    best_validated,
    compare_pairs,
    features_of,
    mean_and_error,
    paired_interval,
    plot_differences,
    pretrain_within,
    results_folder,
    rows_of,
    run_experiment,
    score_linear,
)

import reuse
from reuse.data.dataset import Dataset

DRAWS, PRETRAININGS, MINUTES = 10, 2, 5.0
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
ALWAYS = ("from scratch", "logistic regression", "untrained", "k-means patches")
SOURCE: dict[str, Any] = {
    "batch_size": 128,
    "learning_rate": 1e-3,
    "valid_fraction": 0.02,
    "precision": "bfloat16",  # with channels last: three times as many epochs in the same minutes
    "channels_last": True,
}
IN_FLOAT32 = ("vicreg",)
"""Methods measured on a processor without bfloat16 arithmetic, where float32 has more epochs in the same minutes."""
TUNING: dict[str, Any] = {"epochs": 100, "patience": 30}
RATES, UNFREEZE = (1e-3, 3e-4), 10
COLUMNS = (
    FigureColumn("frozen", "test accuracy, frozen, % (± 95 %)", 100, interval=True),
    FigureColumn("unfrozen", "test accuracy, everything trained, % (± 95 %)", 100, interval=True),
    FigureColumn("minutes", "processor minutes of pretraining", digits=1),
)


def rows(
    methods: tuple[str, ...], sets: tuple[str, ...] = SETS, labels: tuple[int, ...] = LABELS
) -> dict[str, dict[str, Any]]:
    """Return a row for each set, number of labels and way."""
    cases = product(sets, labels, (*ALWAYS, *methods))
    return {name_of(*case): dict(zip(("data", "labels", "way"), case, strict=True)) for case in cases}


def name_of(data: str, labels: int, way: str) -> str:
    """Return what a row is called."""
    return f"{data}, {labels} a class, {way}"


QUICK_ROWS = rows(("autoencoder", "byol"))
EXPERIMENT = Experiment(
    "few_labels",
    "Few labels: methods of pretraining, and four ways without",
    "convnet:32,64 with ReLU, pretrained without labels on the training images, but for a fiftieth that shows "
    "the loss, for five processor minutes each of two times, in turn (ten a method), batch 128, Adam 1e-3, bfloat16 "
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
    COLUMNS,
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
        digits = cache(lambda seed, way: comparison(seed, "digits", 5, way))

        def measure(seed: int, data: str, labels: int, way: str) -> dict[str, float]:
            return digits(seed, way) if quick else comparison(seed, data, labels, way)

        wanted = QUICK_ROWS if quick else rows(methods, sets, labels)
        experiment = replace(
            EXPERIMENT, rows=QUICK_ROWS if quick else rows(tuple(dict.fromkeys((*METHODS, *ON_CLOTHES, *methods))))
        )
        record = run_experiment(
            experiment, measure, seeds=2 if quick else DRAWS, quick=quick, conclude=conclude, rows=wanted
        )
    picture = results_folder(quick) / "few_labels.png"
    plot_differences(differences(record), picture, "points over the best without pretraining")
    return {"run": str(record.path), "plot": str(picture), "conclusions": record.conclusions}


class Comparison:
    """Measures a way on a draw of labels; what draws share is computed once.

    Args:
        folder: for fine-tuned runs and features.
        sources: folder of the pretrained runs; those that it holds are not trained again.
        minutes: of the processor, for each pretraining.
        few: other settings of the training of everything.
    """

    def __init__(self, folder: Path, sources: Path, minutes: float, few: dict[str, Any]) -> None:
        self.folder, self.sources, self.minutes, self.few = folder, sources, minutes, few
        self.source: Callable[[str, str, int], tuple[str, float]] = cache(self._source)
        self.features: Callable[[str, str, int], Features] = cache(self._features)
        self.whole: Callable[[str], Dataset] = cache(lambda data: reuse.load(data, split_seed=0))

    def __call__(self, seed: int, data: str, labels: int, way: str) -> dict[str, float]:
        """Return accuracies on the test rows, and the minutes of pretraining."""
        drawn: dict[str, Any] = {"data": data, "labels": f"{labels}/class", "seed": seed, "split_seed": 0}
        name, number = f"{data}-{labels}-{_in_a_path(way)}-{seed}", seed % PRETRAININGS
        if way == "from scratch":
            return {"unfrozen": self.trained(name, None, drawn)}
        frozen = {"frozen": self.frozen(data, way, number, reuse.load(**drawn))}
        if way in ALWAYS:
            return frozen
        run, minutes = self.source(data, way, number)
        return frozen | {"unfrozen": self.trained(name, run, drawn), "minutes": minutes}

    def trained(self, name: str, run: str | None, drawn: dict[str, Any]) -> float:
        """Return the accuracy of a net that is trained as a whole, from scratch or from a run."""
        results = []
        for rate in RATES:
            settings: dict[str, Any] = {**TUNING, **drawn, "learning_rate": rate, "out": self.folder / f"{name}-{rate}"}
            settings |= self.few
            if run is None:
                results.append(reuse.pretrain("supervised", **NETWORK, **settings))
            else:
                phases: dict[str, Any] = {"freeze": LAYERS, "unfreeze": f"{UNFREEZE}:all", "cache": False}
                results.append(reuse.finetune(run, **phases, **settings))
        accuracy: float = best_validated(results).metrics["test"]["accuracy"]
        return accuracy

    def frozen(self, data: str, way: str, number: int, drawn: Dataset) -> float:
        """Return the accuracy of a linear head on frozen features."""
        features, (test, truth) = self.features(data, way, number), rows_of(self.whole(data).test)
        # Of all test rows, too large to be kept in memory for all ways.
        path = self.folder / f"{data}-{_in_a_path(way)}-{number}.npy"
        if not path.exists():
            np.save(path, features(test))
        (x, y), (x_valid, y_valid) = rows_of(drawn.train), rows_of(drawn.valid)
        labelled = features(torch.cat([x, x_valid])), np.concatenate([y, y_valid])
        accuracy: float = score_linear(labelled, (np.load(path, mmap_mode="r"), truth))
        return accuracy

    def _features(self, data: str, way: str, number: int) -> Features:
        whole = self.whole(data)
        if way == "logistic regression":
            return lambda inputs: inputs.flatten(1).numpy()
        if way == "k-means patches":
            return PatchFeatures.fit(rows_of(whole.train)[0], seed=number)
        run = None if way == "untrained" else self.source(data, way, number)[0]
        return features_of(NETWORK, whole, run=run, seed=number)

    def _source(self, data: str, way: str, number: int) -> tuple[str, float]:
        precision = "float32" if way in IN_FLOAT32 else SOURCE["precision"]
        out = self.sources / f"{data}-{_in_a_path(way)}-{number}-{self.minutes:g}min-{precision}"
        kept = out / "pretrained.json"
        if not kept.exists():
            rmtree(out, ignore_errors=True)  # stopped on the way
            settings = SOURCE | {"precision": precision, "data": data, "seed": number, "split_seed": 0}
            run, minutes = pretrain_within(self.minutes, way, out / "run", **NETWORK, **settings)
            kept.write_text(json.dumps({"run": run, "minutes": minutes}))
        found = json.loads(kept.read_text())
        return found["run"], found["minutes"]


def _in_a_path(way: str) -> str:
    """Return a way in the name of a file: settings of a method, such as its views, may hold slashes."""
    return way.replace("/", "+")


def compared(record: Record) -> Iterator[tuple[str, str, str, str]]:
    """Yield each case, the best of its four ways without pretraining, a method and one of its two figures."""
    for data, labels in product(SETS, LABELS):
        case = name_of(data, labels, "")
        if not all(record.values(case + way, figure_of(way)) for way in ALWAYS):
            continue
        best = max(ALWAYS, key=lambda way: mean_and_error(record.values(case + way, figure_of(way)))[0])
        found = dict.fromkeys(run["row"].removeprefix(case) for run in record.runs if run["row"].startswith(case))
        for method, figure in product([way for way in found if way not in ALWAYS], ("frozen", "unfrozen")):
            yield case, best, method, figure


def figure_of(way: str) -> str:
    """Return the one figure of a way without pretraining."""
    return "unfrozen" if way == "from scratch" else "frozen"


def differences(record: Record) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Return the gain of each method over the best without pretraining, with its interval, in points, by case."""
    panels: dict[str, dict[str, tuple[float, float, float]]] = {}
    for case, best, method, figure in compared(record):
        pairs = record.values(case + best, figure_of(best)), record.values(case + method, figure)
        mean, low, high = (100 * value for value in paired_interval(*pairs))
        panels.setdefault(f"{case}over {best}", {})[f"{method}, {figure}"] = mean, low, high
    return panels


def conclude(record: Record) -> list[str]:
    """Say of each method whether it gains over the best of the four ways without pretraining."""
    return [
        compare_pairs(record, case + method, case + best, figure, other_figure=figure_of(best))
        for case, best, method, figure in compared(record)
    ]

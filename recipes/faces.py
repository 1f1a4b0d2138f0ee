"""One person or not: layers that learned from pairs tell other persons apart with few labels.

The source is a net that maps images of one person near each other. Its layers are frozen for new persons, of whom there
are few labelled images. Where scikit-learn has kept the Olivetti faces, 20 of the 40 are known and 20 new; else classes
of Fashion-MNIST stand for persons: 0 to 4 are known, 5 to 9 new.
"""

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from reuse.recipes.experiments import (
    Experiment,
    FigureColumn,
    Record,
    best_validated,
    compare_pairs,
    features_of,
    rows_of,
    run_experiment,
    score_linear,
)
from sklearn.datasets import fetch_olivetti_faces
from sklearn.metrics import roc_auc_score

import reuse

DRAWS, PRETRAININGS, PAIRS = 3, 2, 2000
NETWORK: dict[str, Any] = {"model": "convnet:16,32", "activation": "relu"}
SOURCE: dict[str, Any] = {"batch_size": 64, "learning_rate": 1e-3, "early_stopping": False}
TUNING: dict[str, Any] = {"epochs": 100, "patience": 30}
RATES = (1e-3, 3e-3)
METHODS = ("siamese", "triplet", "supervised")
ROWS: dict[str, dict[str, Any]] = {
    "from scratch": {"way": None, "frozen": False},
    "logistic regression": {"way": None, "frozen": True},
    "untrained, frozen": {"way": "untrained", "frozen": True},
    **{f"{method}, frozen": {"way": method, "frozen": True} for method in METHODS},
    **{f"{method}, everything trained": {"way": method, "frozen": False} for method in METHODS},
}
COLUMNS = (
    FigureColumn("accuracy", "test accuracy on new persons, % (± 95 %)", 100, interval=True),
    FigureColumn("pairs", "pairs of new persons, area under the curve, % (± 95 %)", 100, interval=True),
)
EXPERIMENT = Experiment(
    "faces",
    "One person or not, then few labels of new persons",
    "Fashion-MNIST in place of faces: classes 0 to 4 are persons of whom all training images are known, 5 to 9 "
    "new ones with ten labelled images each, two of them for validation. convnet:16,32 with ReLU learns four "
    "epochs of Adam 1e-3, batch 64, from pairs (siamese, contrastive loss), triplets (semi-hard) or the classes "
    "of the known (supervised); two such trainings, in turn. Then three draws of labels: the convolutions frozen, or "
    "everything trained, Adam, at most 100 epochs, patience 30; the validation rows choose the rate (1e-3 or "
    "3e-3) and the epoch, as they do for the net from scratch. Logistic regression: on the pixels, penalty and "
    "scale by five folds. Tested on the 5,000 test images of new persons. Pairs: how well the distance of two "
    "images' features tells one person from two, over 2,000 pairs of each sort; no label of a new person is used "
    "to learn it.",
    ROWS,
    COLUMNS,
)


def main(quick: bool = False) -> dict[str, Any]:
    """Learn known persons, test on new ones, three draws; quick: the digits of scikit-learn, an epoch, two draws."""
    persons: tuple[Any, ...] = ("digits", "0-4", "5-9", "10/class", 4)
    experiment = EXPERIMENT
    if not quick:
        faces = olivetti()
        persons = ("fashion-mnist", *persons[1:]) if faces is None else (faces, "0-19", "20-39", "5/class", 60)
        experiment = (
            EXPERIMENT if faces is None else replace(EXPERIMENT, name="faces_olivetti", about="Olivetti faces.")
        )
    data, known, new, labels, epochs = persons
    rows: dict[str, Any] = {"data": data, "split_seed": 0}
    with TemporaryDirectory() as folder:

        @cache
        def source(method: str, number: int) -> str:
            out, settings = Path(folder) / f"{method}-{number}", NETWORK | SOURCE | {"epochs": 1 if quick else epochs}
            return reuse.pretrain(method, classes=known, seed=number, out=out, **rows, **settings).run

        def measure(seed: int, way: str | None, frozen: bool) -> dict[str, float]:
            drawn: dict[str, Any] = {**rows, "classes": new, "labels": labels, "seed": seed}
            run = None if way in (None, "untrained") else source(way, seed % PRETRAININGS)
            if way is None and frozen:
                return on_pixels(reuse.load(**drawn), seed)
            results = []
            for rate in RATES:
                out = Path(folder) / f"{way}-{frozen}-{seed}-{rate}"
                settings = TUNING | drawn | {"learning_rate": rate, "freeze": "conv*" if frozen else (), "out": out}
                settings |= {"epochs": 2, "patience": 2} if quick else {"cache_dir": Path(folder) / "cache"}
                begun = run or source("supervised", 0)  # of the untrained for its kind of net alone
                results.append(reuse.finetune(begun, random_weights=run is None, **settings))
            accuracy = best_validated(results).metrics["test"]["accuracy"]
            if not frozen:
                return {"accuracy": accuracy}
            test = reuse.load(**drawn).test
            features = features_of(NETWORK, reuse.load(**drawn), run=run, seed=seed)(rows_of(test)[0])
            return {"accuracy": accuracy, "pairs": told_apart(features, rows_of(test)[1], seed)}

        record = run_experiment(experiment, measure, seeds=2 if quick else DRAWS, quick=quick, conclude=conclude)
    return {"run": str(record.path), "conclusions": record.conclusions}


def olivetti() -> dict[str, np.ndarray] | None:
    """Return the Olivetti faces, ten grey images of 64x64 of each of 40 persons, where scikit-learn has kept them."""
    try:
        faces = fetch_olivetti_faces(download_if_missing=False)
    except OSError:
        return None
    return {"x": faces.images[:, None], "y": faces.target}


def on_pixels(drawn: Any, seed: int) -> dict[str, float]:
    """Return what a linear model of the pixels, and their distances, come to."""
    (x, y), (x_valid, y_valid), (test, truth) = map(rows_of, (drawn.train, drawn.valid, drawn.test))
    labelled = torch.cat([x, x_valid]).flatten(1).numpy(), np.concatenate([y, y_valid])
    pixels = test.flatten(1).numpy()
    return {"accuracy": score_linear(labelled, (pixels, truth)), "pairs": told_apart(pixels, truth, seed)}


def told_apart(features: np.ndarray, persons: np.ndarray, seed: int) -> float:
    """Return how well distances tell pairs of one person from pairs of two, 1 at best, over as many pairs of each."""
    first, second = np.random.default_rng(seed).integers(len(persons), size=(2, 50 * PAIRS))
    same, other = persons[first] == persons[second], first != second
    chosen = np.concatenate([np.flatnonzero(sort & other)[:PAIRS] for sort in (same, ~same)])
    distances = np.linalg.norm(features[first[chosen]] - features[second[chosen]], axis=1)
    return float(roc_auc_score(same[chosen], -distances))


def conclude(record: Record) -> list[str]:
    """Compare reused layers with training from scratch, draw by draw."""
    ways = [f"{method}, {how}" for method, how in product(METHODS, ("frozen", "everything trained"))]
    return [compare_pairs(record, way, "from scratch", "accuracy") for way in ways]

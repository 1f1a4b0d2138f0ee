"""Few labels: the methods that a convolutional network and unlabelled digits are nothing for, each where it belongs.

Dense layers, rows of images as sequences, colours, labels of other classes. The same four ways without pretraining
stand beside each, and a gain is over the best of them, as in `few_labels`.
"""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from reuse.recipes.experiments import (
    ALWAYS,
    DRAWS,
    FEW_LABEL_COLUMNS,
    MINUTES,
    SHORT,
    UNFREEZE,
    Case,
    Comparison,
    Experiment,
    Record,
    all_rows,
    conclude_gains,
    part_of_cifar10,
    pretrain_stages_within,
    pretrain_within,
    run_experiment,
    with_budget,
)

import reuse
from reuse.objectives.distillation import Distillation
from reuse.objectives.pseudo_labels import PseudoLabels

LABELS = 10
SOURCES = Path("runs") / "few_labels_others"
SOURCE: dict[str, Any] = {"batch_size": 128, "learning_rate": 1e-3, "valid_fraction": 0.02, "precision": "float32"}
MACHINES: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.01}
CONVOLUTIONS: dict[str, Any] = {"model": "convnet:32,64", "activation": "relu"}
TEACHER: dict[str, Any] = {"model": "convnet:64,128", "activation": "relu"}


def by_stages(method: str, stages: int) -> Any:
    """Return what pretrains layer by layer, within a budget that stages share evenly."""

    def pretrain(case: Case, number: int, out: Path, minutes: float) -> tuple[str, float]:
        found: tuple[str, float] = pretrain_stages_within(
            minutes, method, out, stages, **case.settings_of(method, number)
        )
        return found

    return pretrain


def with_own_labels(case: Case, number: int, out: Path, minutes: float) -> tuple[str, float]:
    """Pretrain by pseudo_labels: the rows of a draw, with their labels, and all others without."""
    drawn = reuse.load(case.data, labels=f"{LABELS}/class", seed=number, split_seed=0)
    whole = reuse.load(case.data, split_seed=0)
    x, y = all_rows(drawn.train, drawn.valid, whole.train, whole.valid)  # those that come first have labels
    settings = case.settings_of("pseudo_labels", number) | {"data": saved(out, whole, x, y), "valid_fraction": 0.0}
    labelled = min(np.bincount(y[: len(drawn.train) + len(drawn.valid)]))
    found: tuple[str, float] = pretrain_within(minutes, PseudoLabels(int(labelled)), out / "run", **settings)
    return found


def with_measures(case: Case, number: int, out: Path, minutes: float) -> tuple[str, float]:
    """Pretrain by multitask: the class, and how much ink an image has, how high it lies and how far to the left."""
    whole = reuse.load(case.data, classes=case.known, split_seed=0)
    x, y = all_rows(whole.train, whole.valid)
    ink = x.sum((1, 2, 3))
    centres = [(x.sum((1, 5 - axis)) * torch.arange(x.size(axis))).sum(1) / ink for axis in (2, 3)]
    targets = np.stack([y.astype(np.float32), ink.numpy(), *(centre.numpy() for centre in centres)], 1)
    settings = case.settings_of("multitask", number) | {"data": saved(out, whole, x, targets), "classes": None}
    found: tuple[str, float] = pretrain_within(minutes, "multitask", out / "run", **settings)
    return found


def from_a_teacher(case: Case, number: int, out: Path, minutes: float) -> tuple[str, float]:
    """Pretrain by distillation: half of the minutes are for a wider teacher, which learns the labels."""
    settings = case.settings_of("distillation", number)
    teacher, taken = pretrain_within(minutes / 2, "supervised", out / "teacher", **settings | TEACHER)
    run, more = pretrain_within(minutes - taken, Distillation(teacher), out / "run", **settings)
    return run, taken + more


def saved(folder: Path, like: Any, x: torch.Tensor, targets: np.ndarray) -> str:
    """Return a file of training rows in whole pixels, as those of the data were read."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = (x * like.preprocessing.divisor).round().numpy().astype(np.float32)
    np.savez(folder / "rows.npz", x_train=pixels, y_train=targets, x_test=pixels[:1], y_test=targets[:1])
    return str(folder / "rows.npz")


CASES = {
    "mnist, mlp:500,250": Case(
        "mnist-mlp",
        "mnist",
        {"model": "mlp:500,250", "activation": "sigmoid"},
        "hidden*",
        SOURCE,
        own={"dbn": MACHINES},
        otherwise={"stacked": by_stages("stacked", 3), "dbn": by_stages("dbn", 2), "pseudo_labels": with_own_labels},
        for_each_draw=("pseudo_labels",),
    ),
    "mnist, mlp:500": Case(
        "mnist-mlp1", "mnist", {"model": "mlp:500", "activation": "sigmoid"}, "hidden*", SOURCE, own={"rbm": MACHINES}
    ),
    "mnist, gru:128": Case("mnist-gru", "mnist", {"model": "gru:128"}, "gru*", SOURCE, reading={"sequences": True}),
    "mnist, 0-4 known, 5-9 new": Case(
        "mnist-known",
        "mnist",
        CONVOLUTIONS,
        "conv*",
        SOURCE,
        known="0-4",
        new="5-9",
        otherwise={"multitask": with_measures, "distillation": from_a_teacher},
    ),
    "cifar10": Case("cifar10", "cifar10", CONVOLUTIONS, "conv*", SOURCE),
}
METHODS = {
    "mnist, mlp:500,250": ("tied", "sparse", "contractive", "stacked", "dbn", "pseudo_labels"),
    "mnist, mlp:500": ("rbm",),
    "mnist, gru:128": ("next_step", "masked_step"),
    "mnist, 0-4 known, 5-9 new": ("supervised", "siamese", "triplet", "multitask", "distillation"),
    "cifar10": ("colorization",),
}


def rows(minutes: float, ways: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Return a row for each case and way, or for some of the methods and the four ways beside them."""
    found: dict[str, dict[str, Any]] = {}
    for case, methods in METHODS.items():
        wanted = [method for method in methods if method in ways or not ways]
        for way in (*ALWAYS, *wanted) if wanted else ():
            found[with_budget(f"{case}, {way}", way, minutes)] = {
                "case": case,
                "way": way,
                "minutes": minutes * (way in wanted),
            }
    return found


QUICK_ROWS = rows(MINUTES, ("stacked", "pseudo_labels", "masked_step", "multitask", "distillation", "colorization"))
EXPERIMENT = Experiment(
    "few_labels_others",
    "Few labels: methods for dense layers, sequences, colours and labels of other classes",
    "As the table of few labels, with ten draws of ten labels a class, tested on all test images, in float32: "
    "pretrained for five processor minutes each of two times, in turn, or for as many as a row says, an epoch at "
    "least, batch 128, Adam 1e-3 (dbn and rbm: SGD 0.01 with momentum 0.9), each method with its own "
    "defaults. MNIST, with sigmoids in "
    "dense layers: stacked and dbn divide the minutes evenly among their stages; pseudo_labels reads the labels of a "
    "draw, so it is pretrained for each of the ten, a fifth as long. gru:128 reads the 28 rows of an image one after "
    "the other. New classes: convnet:32,64 with ReLU is pretrained on the labels of digits 0 to 4, and the ten labels "
    "a class are of 5 to 9, which no pretraining sees; multitask tells the ink of an image, and the height and the "
    "side it lies at, beside the class; distillation has a teacher, convnet:64,128, of half of the minutes. CIFAR-10: "
    "convnet:32,64 with ReLU, of a part of it where that is there (12,000 images, of each class 1,000 to train and "
    "200 to test). The four ways without pretraining are those of the table of few labels, each with the net of its "
    "case; k-means patches are learned from the images that methods are pretrained on.",
    rows(MINUTES) | rows(SHORT),
    FEW_LABEL_COLUMNS,
)


def main(quick: bool = False, methods: tuple[str, ...] = (), minutes: float = MINUTES) -> dict[str, Any]:
    """Compare methods on ten draws; quick: six methods, the digits of scikit-learn for all cases, an epoch, two draws.

    Several calls may share the hours, as of `few_labels`.

    Args:
        quick: in seconds.
        methods: to measure now, beside the four ways of their cases; none: all.
        minutes: of the processor, for each of two pretrainings; 5 or 1.
    """
    with TemporaryDirectory() as folder, TemporaryDirectory() if quick else nullcontext(SOURCES) as sources:
        few = {"epochs": UNFREEZE + 1} if quick else {}
        comparison = Comparison(Path(folder), Path(sources), 0.0 if quick else minutes, few)
        data = {"cifar10": coloured_digits() if quick else part_of_cifar10(Path(sources))}
        data |= {name: "digits" if quick else case.data for name, case in CASES.items() if name not in data}
        cases = {name: replace(case, data=data[name]) for name, case in CASES.items()}

        def measure(seed: int, case: str, way: str, minutes: float) -> dict[str, float]:  # noqa: ARG001 - a row's
            found: dict[str, float] = comparison(seed, cases[case], 5 if quick else LABELS, way)
            return found

        wanted = QUICK_ROWS if quick else rows(minutes, methods)
        experiment = replace(EXPERIMENT, rows=QUICK_ROWS) if quick else EXPERIMENT
        record = run_experiment(
            experiment, measure, seeds=2 if quick else DRAWS, quick=quick, conclude=conclude, rows=wanted
        )
    return {"run": str(record.path), "conclusions": record.conclusions}


def coloured_digits() -> dict[str, np.ndarray]:
    """Return digits of scikit-learn in three colours."""
    digits = reuse.load("digits", split_seed=0)
    (x, y), (test, truth) = all_rows(digits.train, digits.valid), all_rows(digits.test)
    tints = np.array([1.0, 0.5, 0.2], np.float32)[:, None, None]
    return {"x_train": x.numpy() * tints, "y_train": y, "x_test": test.numpy() * tints, "y_test": truth}


def conclude(record: Record) -> list[str]:
    """Say of each method whether it gains over the best of the four ways of its case."""
    lines: list[str] = conclude_gains(record, [f"{case}, " for case in CASES])
    return lines

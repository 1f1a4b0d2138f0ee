"""A small network beside frozen layers: how much it recovers of what fine-tuning gains, and in what share of its time.

A net learns some classes, and then others from few labels, in four ways: a linear probe of its uppermost layer, a probe
of all layers by the columns that matter most, a ladder side network, and all of it trained further. The first three
read what the frozen net computed once.
"""

from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from reuse.recipes.experiments import (
    Experiment,
    FigureColumn,
    Record,
    compare_pairs,
    mean_and_error,
    part_of_cifar10,
    run_experiment,
)

import reuse

DRAWS = 10
NETWORK: dict[str, Any] = {"model": "convnet:32,64,128/64", "activation": "relu", "norm": "batch"}
SOURCE: dict[str, Any] = {"classes": "0-4", "batch_size": 64, "early_stopping": False, "seed": 0}
SETS: dict[str, dict[str, Any]] = {
    "Fashion-MNIST": {"data": "fashion-mnist", "labels": 8000, "epochs": 3},
    "CIFAR-10": {"data": "cifar10", "epochs": 8},
}
NEW: dict[str, Any] = {"classes": "5-9", "labels": "200/class"}
LADDER: dict[str, Any] = {"side": "ladder:4", "batch_size": 64, "learning_rate": 2e-3, "epochs": 20, "patience": 5}
WHOLE: dict[str, Any] = {"learning_rate": 1e-3, "epochs": 40, "patience": 10}
PROBE, ALL, SIDE, TUNED = "linear probe", "probe of all layers", "ladder", "fine-tuning"
WAYS = (PROBE, ALL, SIDE, TUNED)
ROWS = {f"{name}, {way}": {"name": name, "way": way} for name, way in product(SETS, WAYS)}
QUICK_ROWS = {name: row for name, row in ROWS.items() if row["name"] == "CIFAR-10"}
COLUMNS = (
    FigureColumn("accuracy", "test accuracy on new classes, % (± 95 %)", 100, interval=True),
    FigureColumn("seconds", "processor seconds", digits=1),
)
EXPERIMENT = Experiment(
    "side_network",
    "A small network beside frozen layers",
    "convnet:32,64,128/64 with ReLU and batch norm learns classes 0 to 4, with Adam 3e-3, batch 64: three epochs of "
    "8,000 images of Fashion-MNIST, eight epochs of the 5,000 of a part of CIFAR-10 (12,000 images, of each class "
    "1,000 to train and 200 to test). Then ten draws of 200 labels of each of the classes 5 to 9, a fifth of them for "
    "validation, tested on all test images of these. Linear probe: a logistic regression on the dense layer. Probe of "
    "all layers (Head2Toe): on those columns of all four layers, maps pooled to 2x2, that matter most to a group lasso."
    " Ladder (LST): a quarter as wide as the widest layer, maps pooled to 4x4, Adam 2e-3, batch 64, at most "
    "20 epochs, patience 5. Fine-tuning: everything trains, Adam 1e-3, batch 32, at most 40 epochs, patience 10. "
    "Validation rows choose penalties, the share of columns and the epoch; rate, batch and width of the ladder were "
    "set after a look at those of an eleventh draw. Seconds are of the processor, of the whole command: reading, "
    "checks, training, tests; what frozen layers compute of a row is found by the later draws that have it too.",
    ROWS,
    COLUMNS,
)


def main(quick: bool = False, sets: tuple[str, ...] = tuple(SETS)) -> dict[str, Any]:
    """Learn new classes in four ways, ten draws; quick: the digits of scikit-learn, an epoch, two draws.

    Args:
        quick: in seconds.
        sets: names of `SETS`; what others have measured stays in the record.
    """
    with TemporaryDirectory() as folder:
        ways = Ways(Path(folder), quick)
        rows = QUICK_ROWS if quick else {name: row for name, row in ROWS.items() if row["name"] in sets}
        experiment = Experiment(EXPERIMENT.name, EXPERIMENT.title, EXPERIMENT.about, rows, COLUMNS)
        record = run_experiment(experiment, ways, seeds=2 if quick else DRAWS, quick=quick, conclude=conclude)
    return {"run": str(record.path), "conclusions": record.conclusions}


class Ways:
    """Measures a way to learn new classes on a draw of labels; the net and its cache are the draws' own.

    Args:
        folder: for runs and the cache.
        quick: on the digits of scikit-learn, an epoch.
    """

    def __init__(self, folder: Path, quick: bool) -> None:
        self.folder, self.quick = folder, quick
        self.data = cache(self._data)
        self.source = cache(self._source)

    def __call__(self, seed: int, name: str, way: str) -> dict[str, float]:
        """Return the accuracy on the test rows, and the processor's seconds."""
        drawn = {**NEW, "data": self.data(name), "seed": seed, "split_seed": 0, "cache_dir": self.folder / "cache"}
        drawn |= {"labels": "20/class"} if self.quick else {}
        source, started = self.source(name), process_time()
        out = self.folder / f"{name}-{way}-{seed}-{started}"
        if way in (PROBE, ALL):
            layers, row = ("hidden1", 0) if way == PROBE else (True, -1)  # the last row is of all layers together
            accuracy = reuse.sweep(source, probe_layers=layers, out=out, **drawn).table[row]["test_accuracy"]
        else:
            settings = (LADDER if way == SIDE else WHOLE) | ({"epochs": 2} if self.quick else {})
            accuracy = reuse.finetune(source, out=out, compare=False, **settings, **drawn).metrics["test"]["accuracy"]
        return {"accuracy": accuracy, "seconds": process_time() - started}

    def _source(self, name: str) -> str:
        settings = NETWORK | SOURCE | SETS[name] | {"data": self.data(name), "split_seed": 0}
        settings |= {"epochs": 1, "labels": None} if self.quick else {}
        return reuse.pretrain("supervised", out=self.folder / name, **settings).run

    def _data(self, name: str) -> Any:
        """Return what the images are read from; of CIFAR-10 the part of it that is there, where it is there."""
        if self.quick:
            return "digits"
        return part_of_cifar10(self.folder) if name == "CIFAR-10" else SETS[name]["data"]


def conclude(record: Record) -> list[str]:
    """Say of each set how much of fine-tuning's gain over a linear probe comes back, and in how much of its time."""
    lines = []
    for name in SETS:
        if len(record.values(f"{name}, {TUNED}", "accuracy")) < 2:
            continue
        accuracy, seconds = (
            {way: mean_and_error(record.values(f"{name}, {way}", figure))[0] for way in WAYS}
            for figure in ("accuracy", "seconds")
        )
        lines.append(compare_pairs(record, f"{name}, {TUNED}", f"{name}, {PROBE}", "accuracy"))
        for way in (ALL, SIDE):
            lines.append(compare_pairs(record, f"{name}, {way}", f"{name}, {PROBE}", "accuracy"))
            lines.append(compare_pairs(record, f"{name}, {way}", f"{name}, {TUNED}", "accuracy"))
            gain = accuracy[TUNED] - accuracy[PROBE]
            recovered = accuracy[way] - accuracy[PROBE]
            share = f"{recovered / gain:.2f} of its gain" if gain > 0 else "no gain to recover"
            time = f"{seconds[way] / seconds[TUNED]:.3f} of its time"
            lines.append(f"{name}, {way} against {TUNED}: {share} (aimed at: 0.9), in {time} (aimed at: 0.1)")
    return lines

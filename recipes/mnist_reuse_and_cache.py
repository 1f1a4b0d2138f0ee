"""Reuse three layers, freeze two, and compute those two once: the same result in less time, on MNIST.

The net that is trained first gives `hidden1` to `hidden3` to a second one with a narrower top. The second is trained
with its frozen layers computed anew in every epoch, then with their outputs cached, then with a cache that is there.
"""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reuse.recipes.experiments import Experiment, FigureColumn, Record, mean_and_error, run_experiment

import reuse

SEEDS, EPOCHS = 3, 20
NETWORK: dict[str, Any] = {"activation": "relu", "init": "he_normal"}
NEW: dict[str, Any] = {"model": "mlp:300,50,50,20", "restore": "re:hidden[123]", "freeze": "hidden1,hidden2"}
ROWS: dict[str, dict[str, Any]] = {
    "source, all layers trained": {"part": "source"},
    "reused, frozen layers computed in every epoch": {"part": "uncached"},
    "reused, cached": {"part": "first"},
    "reused, cached before": {"part": "again"},
}
COLUMNS = (
    FigureColumn("test_accuracy", "test accuracy, %", 100),
    FigureColumn("test_loss", "test loss", digits=4),
    FigureColumn("seconds", "seconds of caching and training", digits=1),
    FigureColumn("seconds_an_epoch", "of them, an epoch", digits=3),
)
EXPERIMENT = Experiment(
    "mnist_reuse_and_cache",
    "MNIST: reusing, freezing and caching layers",
    "784-300-50-50-50-10 trained, its `hidden1` to `hidden3` restored into 784-300-50-50-20-10, `hidden1` and "
    "`hidden2` frozen, a new `hidden4` and output trained; He normal, ReLU, SGD 0.01, batch 200, 20 epochs; test "
    "figures with the weights of the best validated epoch. Seconds hold computing and writing activations, the "
    "epochs, validation and checkpoints.",
    ROWS,
    COLUMNS,
)


def main(quick: bool = False) -> dict[str, Any]:
    """Train all four with three seeds; quick: the digits of scikit-learn, two epochs, one seed."""
    settings: dict[str, Any] = {
        "data": "digits" if quick else "mnist",
        "epochs": 2 if quick else EPOCHS,
        "batch_size": 200,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "early_stopping": False,
    }
    with TemporaryDirectory() as folder:

        @cache
        def source(seed: int) -> reuse.Result:
            out = Path(folder) / f"source-{seed}"
            return reuse.pretrain("supervised", model="mlp:300,50,50,50", seed=seed, out=out, **NETWORK, **settings)

        def measure(seed: int, part: str) -> dict[str, float]:
            if part == "source":
                return figures(source(seed))
            reused = {**NEW, **settings, "seed": seed, "cache_dir": Path(folder) / f"cache-{part}-{seed}"}
            if part == "again":
                reuse.finetune(source(seed).run, out=Path(folder) / f"before-{seed}", **reused)
            out = Path(folder) / f"{part}-{seed}"
            return figures(reuse.finetune(source(seed).run, cache=part != "uncached", out=out, **reused))

        record = run_experiment(EXPERIMENT, measure, seeds=1 if quick else SEEDS, quick=quick, conclude=conclude)
    return {"run": str(record.path), "conclusions": record.conclusions}


def figures(result: reuse.Result) -> dict[str, float]:
    """Return what the table shows of a run."""
    seconds = result.seconds["cache"] + result.seconds["train"]
    cached = {} if result.cache is None else {"rows_computed": result.cache["rows"]["computed"]}
    measured = {f"test_{name}": value for name, value in result.metrics["test"].items()}
    return measured | cached | {"seconds": seconds, "seconds_an_epoch": result.seconds["train"] / result.epochs}


def conclude(record: Record) -> list[str]:
    """Say whether cached equals uncached, and how many times as fast it was."""
    _, uncached, first, again = ROWS
    lines = []
    for row in (first, again):
        pairs = zip(record.values(row, "test_loss"), record.values(uncached, "test_loss"), strict=True)
        apart = max(abs(one - other) for one, other in pairs)
        times = zip(record.values(uncached, "seconds"), record.values(row, "seconds"), strict=True)
        gain, _ = mean_and_error([before / after for before, after in times])
        lines.append(f"{row}: test losses differ from the uncached by at most {apart:.1e}; {gain:.1f} times as fast")
    return lines

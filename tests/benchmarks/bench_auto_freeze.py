"""What it saves, and costs in accuracy, that layers freeze by themselves: Fashion-MNIST fine-tuned with and without.

Run: `python tests/benchmarks/bench_auto_freeze.py --threads 1`. A convnet of four layers, pretrained on eight classes
for two epochs, is fine-tuned on 2,000 labels of all ten for 20 epochs, Adam 3e-4, batch 32, whole; with `auto_freeze`
at its median, compared every epoch; so without a cache; and compared every third epoch. Each round has another seed,
which draws other labels. Counted are seconds of the processor, of the whole command: cutting, caching, training,
measuring on the 10,000 test images.
"""

import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from measuring import Line, alternate, begin, median_interval, print_table

import reuse
from reuse.runs.results import Result

FULL: dict[str, Any] = {"data": "fashion-mnist", "model": "convnet:16,32,32,64", "labels": 2000, "epochs": 20}
QUICK: dict[str, Any] = {"data": "digits", "model": "mlp:40,30,20", "labels": 60, "epochs": 6}
SIDES: dict[str, dict[str, Any]] = {
    "whole": {},
    "auto_freeze": {"auto_freeze": True},
    "auto_freeze, no cache": {"auto_freeze": True, "cache": False},
    "auto_freeze, every 3": {"auto_freeze": True, "auto_freeze_every": 3},
}
ROUNDS = 5


@dataclass
class Side:
    """Fine-tunes with another seed each time, and keeps what came of it."""

    settings: dict[str, Any]
    results: list[Result] = field(default_factory=list)

    def __call__(self) -> float:
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            seed, places = len(self.results), {"cache_dir": f"{folder}/cache", "out": f"{folder}/run"}
            self.results.append(reuse.finetune("source", **self.settings, **places, seed=seed))
        return time.process_time() - started

    @property
    def accuracies(self) -> list[float]:
        return [result.metrics["test"]["accuracy"] for result in self.results[1:]]  # the first one warmed up

    @property
    def unfrozen_epochs(self) -> float:
        """After how many epochs something froze first, the median."""
        first = [result.phases[1]["epoch"] - 1 for result in self.results[1:] if len(result.phases) > 1]
        return statistics.median(first) if first else float("nan")


def main() -> None:
    quick = begin(__doc__ or "")
    given = QUICK if quick else FULL
    os.chdir(tempfile.mkdtemp())
    pretraining = {**given, "epochs": 2, "classes": "0-7", "norm": "batch", "device": "cpu", "out": Path("source")}
    reuse.pretrain("supervised", **pretraining)
    tuning = {**given, "learning_rate": 3e-4, "early_stopping": False, "device": "cpu", "compare": False}
    sides = {name: Side({**tuning, **own}) for name, own in SIDES.items()}
    times = alternate({name: partial(side) for name, side in sides.items()}, 2 if quick else ROUNDS)
    lines = []
    for name, side in list(sides.items())[1:]:
        ratios = [whole / own for whole, own in zip(times["whole"], times[name], strict=True)]
        apart = [100 * (a - b) for a, b in zip(side.accuracies, sides["whole"].accuracies, strict=True)]
        low, high = median_interval(apart)
        loss = f"accuracy {statistics.median(apart):+.1f} points ({low:+.1f} to {high:+.1f})"
        lines.append(Line(f"whole / {name}", 1.0, ratios, f"{loss}; first frozen after epoch {side.unfrozen_epochs:g}"))
    accuracy = 100 * statistics.median(sides["whole"].accuracies)
    seconds = ", ".join(f"{name} {statistics.median(own):.1f} s" for name, own in times.items())
    print_table("Freezing by itself, seconds of the processor", lines)
    print(f"median of {len(times['whole'])}: {seconds}; accuracy of whole {accuracy:.1f} %")


if __name__ == "__main__":
    main()

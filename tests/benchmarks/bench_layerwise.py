"""What the cache saves where layers are trained one after the other: stacked autoencoders with it and without.

Run: `python tests/benchmarks/bench_layerwise.py --threads 1`. 5,000 rows of 784 values, batch 100, 10 epochs a layer;
three dense layers of 1,000 units, and ten of 500; each without a cache, with an empty one, and with one that holds all.
Counted are seconds of the processor of the whole pretraining: cutting, computing and writing activations, training,
validation.

A step of a layer of n inputs and units takes about 12 n² operations, and each layer below 2 n² a row without the cache,
so that K equal layers can gain 1 + (K - 1) / 12 and no more: 1.17 with three of them, 1.75 with ten.
"""

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Line, alternate, begin, print_table

import reuse
from reuse.objectives.stacked import Stacked

STACKS = {"3 layers of 1000": ((1000,) * 3, 1.1), "10 layers of 500": ((500,) * 10, 1.5)}
EPOCHS, ROUNDS = 10, 3
ROWS, QUICK_ROWS, VALUES = 5000, 100, 784
SETTINGS: dict[str, Any] = {"batch_size": 100, "early_stopping": False, "device": "cpu"}


def pretrained(widths: tuple[int, ...], settings: dict[str, Any], epochs: int, kept: str | None = None) -> float:
    """Return the processor seconds of a pretraining of layers of some widths, in a cache of its own or a kept one."""
    model, layers = "mlp:" + ",".join(map(str, widths)), len(widths)
    with tempfile.TemporaryDirectory() as folder:
        places = {"out": Path(folder) / "run"}
        if settings.get("cache", True):
            places["cache_dir"] = Path(kept or folder) / "cache"
        started = time.process_time()
        reuse.pretrain(Stacked(0.2, layer_epochs=epochs), model=model, epochs=epochs * layers, **places, **settings)
        return time.process_time() - started


def main() -> None:
    quick = begin(__doc__ or "")
    os.chdir(tempfile.mkdtemp())
    rows = np.random.default_rng(0).random((QUICK_ROWS if quick else ROWS, VALUES), dtype=np.float32)
    settings, epochs = {**SETTINGS, "data": (rows, None)}, 1 if quick else EPOCHS
    lines = []
    for name, (widths, target) in STACKS.items():
        widths = tuple(width // 50 for width in widths[:3]) if quick else widths
        sides = {
            "without": partial(pretrained, widths, {**settings, "cache": False}, epochs),
            "cached": partial(pretrained, widths, settings, epochs),
            "cached before": partial(pretrained, widths, settings, epochs, f"kept-{widths[0]}"),
        }
        times = alternate(sides, 1 if quick else ROUNDS)
        for side in list(sides)[1:]:
            ratios = [plain / own for plain, own in zip(times["without"], times[side], strict=True)]
            lines.append(Line(f"{name}: without / {side}", target, ratios))
    print_table("Layer by layer, seconds of the processor", lines)


if __name__ == "__main__":
    main()

"""What all layers of a frozen network cost beside its last: the bare pass, and filling a cache a layer.

Run: `python tests/benchmarks/bench_layers.py --threads 1`. ResNet-18 at 64×64, random weights, rows that lie ready: its
five stages, maps pooled to 2×2, and the features, beside the features alone. Counted are seconds of the processor.
Filling begins with empty caches: computing, checks of the rows, summing, writing, and reading back, of 512 rows.
"""

import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from measuring import Line, alternate, begin, on_processor, print_table

from reuse.caching.cache import ActivationCache
from reuse.data.dataset import Dataset
from reuse.data.loading import load
from reuse.data.preprocessing import Preprocessing
from reuse.devices import Compute
from reuse.features.layer_caches import rows_of_layers
from reuse.features.layer_taps import LayerTap, TapsTogether, taps_of
from reuse.nn.tapped import Tapped
from reuse.reporting import Reporter

SIZE, CLASSES, BATCH, GRID = 64, 10, 64, 2
COMPUTE = Compute(torch.device("cpu"), "float32")
TARGET = 1 / 1.1


def passes(taps: list[LayerTap], rows: torch.Tensor) -> None:
    """Compute what some layers give, batch by batch."""
    together = TapsTogether(taps).eval()
    with torch.no_grad():
        for some in rows.split(BATCH):
            together(some)


def fill(taps: list[LayerTap], data: Dataset) -> None:
    """Compute and store what some layers give, each in a cache of its own, and read it back."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, opened = data.train.inputs, ActivationCache(Path(folder))
        rows_of_layers(taps, inputs, data.preprocessing, COMPUTE, opened, None, Reporter(), TapsTogether)


def main() -> None:
    quick = begin(__doc__ or "")
    num_rows, rounds = (64, 1) if quick else (512, 7)
    pixels = np.random.default_rng(0).integers(0, 256, (num_rows + 2 * CLASSES, 3, SIZE, SIZE), np.uint8)
    labels = np.arange(len(pixels)) % CLASSES
    preprocessing = Preprocessing("images", 255.0, image_size=(SIZE, SIZE), channels=3)
    data = load({"x": pixels, "y": labels}, preprocessing=preprocessing, test_fraction=0.05, valid_fraction=0.05)
    tapped = Tapped(timm.create_model("resnet18", num_classes=CLASSES).requires_grad_(False), grid=GRID)
    rows = data.train.inputs.gather(torch.arange(len(data.train)))[0]
    tapped.measure(torch.randn(rows[:2].shape))
    taps = taps_of(tapped)
    times = alternate(
        {
            "pass to the last": on_processor(partial(passes, taps[-1:], rows)),
            "pass to all": on_processor(partial(passes, taps, rows)),
            "filling the last": on_processor(partial(fill, taps[-1:], data)),
            "filling all": on_processor(partial(fill, taps, data)),
        },
        rounds,
    )
    lines = [
        Line(f"{one} / {other}", TARGET, [a / b for a, b in zip(times[one], times[other], strict=True)],
             f"{statistics.median(times[other]) / len(rows) * 1e3:.2f} ms a row")
        for one, other in (("pass to the last", "pass to all"), ("filling the last", "filling all"))
    ]  # fmt: skip
    print_table(f"Layers: ResNet-18 at {SIZE}×{SIZE}, {len(taps)} of its layers, {len(rows)} rows", lines)


if __name__ == "__main__":
    main()

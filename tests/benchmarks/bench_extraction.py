"""Computing and storing what frozen layers give, beside a bare `torch.inference_mode` loop over the same rows.

Run: `python tests/benchmarks/bench_extraction.py [--quick]`. ResNet-18 at 64×64, random weights, everything below its
output layer; batches of the same size on both sides. Ours is what `finetune` does: row by row found missing, computed,
checked, summed, written and fsynced, published, read back. The bare loop keeps its results in one tensor in memory. Two
kinds of rows: float32 tensors that lie ready for both, and uint8 images that both scale batch by batch.
"""

import statistics
import tempfile
from functools import partial

import numpy as np
import timm
import torch
from measuring import Block, Line, alternate, begin, print_table, timed

from reuse.data.dataset import SPLITS, Dataset
from reuse.data.loading import load
from reuse.data.preprocessing import Preprocessing
from reuse.devices import Compute
from reuse.features.choosing import Upcoming
from reuse.features.feeding import feed_activations
from reuse.features.filling import COMPUTE_ROWS
from reuse.features.planned import half_steps, plan_features
from reuse.layers.freezing import freeze
from reuse.objectives.supervised import Classification
from reuse.reporting import Reporter
from reuse.settings.caching import StoringSettings

SIZE, CLASSES, FEATURES = 64, 10, 512
COMPUTE = Compute(torch.device("cpu"), "float32")


def images(num_rows: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num_rows, SIZE, SIZE, 3), np.uint8)


def as_dataset(pixels: np.ndarray) -> Dataset:
    """All rows but two a class in the training split, in their order."""
    labels, rest = np.arange(len(pixels)) % CLASSES, len(pixels) - 2 * CLASSES
    arrays = {
        "x_train": pixels[:rest], "y_train": labels[:rest],
        "x_valid": pixels[rest:-CLASSES], "y_valid": labels[rest:-CLASSES],
        "x_test": pixels[-CLASSES:], "y_test": labels[-CLASSES:],
    }  # fmt: skip
    return load(arrays, preprocessing=Preprocessing("images", 255.0, image_size=(SIZE, SIZE), channels=3))


def by_hand(model: torch.nn.Module, pixels: np.ndarray, ready: torch.Tensor | None) -> Block:
    """Return a block that computes the pooled features, `(rows, FEATURES)`."""
    raw, features = torch.from_numpy(np.moveaxis(pixels, 3, 1)), torch.empty((len(pixels), FEATURES))

    def loop() -> None:
        with torch.inference_mode():
            for start in range(0, len(raw), COMPUTE_ROWS):
                part = slice(start, start + COMPUTE_ROWS)
                inputs = raw[part].to(torch.float32) / 255 if ready is None else ready[part]
                features[part] = model.forward_head(model.forward_features(inputs), pre_logits=True)

    return timed(loop)


def ours(model: torch.nn.Module, data: Dataset) -> Block:
    """Return a block that fills a fresh cache and reads it back; cutting and planning go before and do not count."""

    def block() -> float:
        with tempfile.TemporaryDirectory() as folder:
            upcoming = Upcoming(1, partial(half_steps, Classification(CLASSES)), comparable=False)
            features = plan_features(model, data, COMPUTE, StoringSettings(cache_dir=folder), upcoming)
            return timed(lambda: feed_activations(features, data, COMPUTE, Reporter()))()

    return block


def main() -> None:
    quick = begin(__doc__ or "")
    num_rows, rounds = (64, 1) if quick else (1024, 11)
    pixels = images(num_rows)
    model = timm.create_model("resnet18", num_classes=CLASSES)
    freeze(model, ["!fc"])
    from_images, from_ready = as_dataset(pixels), as_dataset(pixels)
    ready = torch.cat([getattr(from_ready, name).inputs.resident() for name in SPLITS])
    times = alternate(
        {
            "ready by hand": by_hand(model, pixels, ready),
            "ready": ours(model, from_ready),
            "images by hand": by_hand(model, pixels, None),
            "images": ours(model, from_images),
        },
        rounds,
    )
    lines = [
        Line(f"{what} / bare loop", 0.9, [b / a for a, b in zip(times[kind], times[f"{kind} by hand"], strict=True)],
             f"{statistics.median(times[kind]) / num_rows * 1e3:.2f} ms a row")
        for kind, what in (("ready", "extraction of ready tensors"), ("images", "extraction of uint8 images"))
    ]  # fmt: skip
    print_table(f"Extraction: ResNet-18 at {SIZE}×{SIZE}, {num_rows} rows, batches of {COMPUTE_ROWS}", lines)


if __name__ == "__main__":
    main()

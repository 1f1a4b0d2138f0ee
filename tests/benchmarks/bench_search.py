"""A grid search of scikit-learn on a frozen ResNet-18, with the cache and without; several layers in one pass.

Run: `python tests/benchmarks/bench_search.py [--quick]`. `GridSearchCV` of 12 heads in 5 folds on images of 64×64, and
the whole once more at its end: without the cache each image is computed 61 times, with it once. Each search is run
once, the cached one into an empty folder. Beside it, the outputs of the four stages of the network against those of the
last one alone. Seconds are those of the processor, as a shared machine gives no others worth a limit.
"""

import os
import tempfile

import numpy as np
import timm
import torch
from measuring import Line, alternate, begin, on_processor, print_table
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import reuse
from reuse.features.layer_outputs import LayerOutputs

SIDE = 64
LEAST_SHARE = 1 / 1.1  # of the pass to the last layer in one that gives several


def search(rows: int, heads: int, folds: int, cache: bool) -> float:
    """Return the seconds of a whole search."""
    drawn = np.random.default_rng(0)
    images = drawn.integers(0, 256, (rows, 3, SIDE, SIDE), dtype=np.uint8)
    labels = np.arange(rows) % 10
    features = reuse.FrozenFeatures("timm:resnet18", random_weights=True, random_state=0, cache=cache)
    grid = {"ridgeclassifier__alpha": np.logspace(-3, 3, heads)}
    searched = GridSearchCV(make_pipeline(features, RidgeClassifier()), grid, cv=folds, error_score="raise")
    return on_processor(lambda: searched.fit(images, labels))()


def main() -> None:
    quick = begin(__doc__ or "")
    rows, heads, folds, rounds = (60, 3, 2, 3) if quick else (1_000, 12, 5, 15)
    seconds = {}
    for cache in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["REUSE_CACHE"] = folder
            seconds[cache] = search(rows, heads, folds, cache)
    model, images = timm.create_model("resnet18").eval(), torch.randn(32, 3, SIDE, SIDE)
    blocks = {}
    for name, layers in (("last", "layer4"), ("all", "layer?")):
        outputs = LayerOutputs(model, layers)
        outputs.measure(images[:2])
        blocks[name] = on_processor(torch.no_grad()(lambda outputs=outputs: outputs(images)))
    times = alternate(blocks, rounds)
    shares = [last / every for last, every in zip(times["last"], times["all"], strict=True)]
    remark = f"{seconds[False]:.1f} s and {seconds[True]:.1f}, {rows} images"
    lines = [
        Line(f"{heads} heads, {folds} folds: without / with the cache", 20, [seconds[False] / seconds[True]], remark),
        Line("pass to the last layer / pass with all four", LEAST_SHARE, shares),
    ]
    print_table("scikit-learn on a frozen ResNet-18", lines)


if __name__ == "__main__":
    main()

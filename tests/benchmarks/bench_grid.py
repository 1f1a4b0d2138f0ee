"""A grid search over heads on frozen layers: with the cache, which computes each image once, beside without.

Run: `python tests/benchmarks/bench_grid.py [--quick]`. Five folds and twelve logistic regressions on a frozen ResNet-18
(random weights, which take as long as others), 1,000 images of 64×64 and of 128×128. With the cache the whole search
counts, its first fit included, in which all images are computed. Without it one candidate is searched, refit left out,
and counted for each of the twelve: the frozen layers do the same for all. Seconds are those of the processor.
"""

import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import Line, begin, print_table
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import reuse
from reuse.caching.cache import ActivationCache

TARGET, FOLDS, HEADS = 20, 5, 12
STRENGTHS = np.logspace(-4, 1, HEADS)


def searched(images: np.ndarray, labels: np.ndarray, strengths: Sequence[float], folder: Path, *, cache: bool) -> float:
    """Return the seconds of a search over heads."""
    features = reuse.FrozenFeatures(
        "timm:resnet18", random_weights=True, random_state=0, cache=cache, cache_dir=folder, device="cpu"
    )
    model = make_pipeline(features, LogisticRegression(max_iter=50))
    grid = {"logisticregression__C": list(strengths)}
    started = time.process_time()
    GridSearchCV(model, grid, cv=FOLDS, refit=cache, error_score="raise").fit(images, labels)
    return time.process_time() - started


def main() -> None:
    quick = begin(__doc__ or "")
    warnings.simplefilter("ignore")  # regressions that do not converge
    draw, lines = np.random.default_rng(0), []
    for size in (32,) if quick else (64, 128):
        count, rounds = (40, 1) if quick else (1000, 3)
        images, labels = draw.random((count, 3, size, size), np.float32), draw.integers(0, 4, count)
        ratios, told = [], ""
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                ours = searched(images, labels, STRENGTHS, Path(folder), cache=True)
                (entry,) = ActivationCache(Path(folder)).entries()
                assert entry.rows == count, "each image is computed once"
                without = HEADS * searched(images, labels, STRENGTHS[:1], Path(folder), cache=False)
            ratios.append(without / ours)
            told = f"{ours:.1f} s, {without:.0f} s without"
        lines.append(Line(f"{count} images of {size}×{size}: without / with the cache", TARGET, ratios, told))
    print_table(f"{FOLDS} folds, {HEADS} heads on a frozen ResNet-18", lines)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()

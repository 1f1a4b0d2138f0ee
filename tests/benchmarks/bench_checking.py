"""What checking costs a first pass over cached rows that the page cache holds: with checksums beside without.

Run: `python tests/benchmarks/bench_checking.py [--quick]`. Rows of three sizes are loaded into memory, where blocks are
checked as wholes while more is read; and read window by window, as where they stay on disk, where the reading thread
checks units of about a page. Later passes over the same rows check nothing. To leave checks out is no setting.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from measuring import Block, Line, alternate, begin, print_table, timed

from reuse.caching.activations import MappedActivations
from reuse.caching.cache import ActivationCache
from reuse.caching.load_checking import LoadCheck
from reuse.caching.store import PrefixCache
from reuse.caching.stored_rows import StoredRows
from reuse.data.rows import read_in_order
from reuse.data.windows import windows_for
from reuse.fingerprinting.fingerprint import Fingerprint
from reuse.layers.frontier_tensor import FrontierTensor

BATCH = 256
TARGET = 0.95


def filled(folder: Path, rows: torch.Tensor) -> tuple[PrefixCache, np.ndarray]:
    keys = np.random.default_rng(0).integers(0, 256, (len(rows), 16), np.uint8)
    frontier = [FrontierTensor("features", tuple(rows.shape[1:]), torch.float32)]
    cache = ActivationCache(folder).open(Fingerprint({"weights": "none: a benchmark"}), frontier)
    cache.fill(keys, lambda positions: (rows[torch.from_numpy(positions)],), compute_rows=4096)
    return cache, keys


@contextmanager
def unchecked() -> Iterator[None]:
    nothing = lambda *_: None  # noqa: E731
    with (
        mock.patch.object(LoadCheck, "check", nothing),
        mock.patch.object(LoadCheck, "finish", nothing),
        mock.patch.object(StoredRows, "check", nothing),
    ):
        yield


def without_checks(work: Callable[[], object]) -> Block:
    def block() -> float:
        with unchecked():
            return timed(work)()

    return block


def in_windows(cache: PrefixCache, keys: np.ndarray, order: torch.Tensor) -> None:
    rows = cache.activations(keys, memory=0)
    assert isinstance(rows, MappedActivations)
    with read_in_order(rows, order) as opened:
        for some in order.split(BATCH):
            opened.gather(some)


def main() -> None:
    quick = begin(__doc__ or "")
    lines = []
    for features, count in ((64, 400_000), (512, 100_000), (4096, 12_000)):
        num_rows, rounds = (count // 20, 3) if quick else (count, 15)
        with tempfile.TemporaryDirectory() as folder:
            cache, keys = filled(Path(folder), torch.randn(num_rows, features))
            order = windows_for(4 * features).order(num_rows, torch.Generator().manual_seed(0))
            passes = {"load": lambda: cache.activations(keys), "windows": lambda: in_windows(cache, keys, order)}  # noqa: B023
            for name, work in passes.items():
                times = alternate({"with": timed(work), "without": without_checks(work)}, rounds)
                ratios = [b / a for a, b in zip(times["with"], times["without"], strict=True)]
                seconds = {side: statistics.median(some) for side, some in times.items()}
                remark = f"{seconds['with']:.3f} s, {seconds['without']:.3f} s without"
                lines.append(Line(f"{name}, {num_rows} × {features}: without / with checks", TARGET, ratios, remark))
    print_table("A first pass over rows in the page cache", lines)


if __name__ == "__main__":
    main()

"""What checking costs a first pass over cached rows that the page cache holds: with checksums beside without.

Run: `python tests/benchmarks/bench_checking.py [--quick]`. Rows of three sizes are loaded into memory, in the order of
the file and shuffled; read window by window, as where they stay on disk; and gathered from there in random batches.
Later passes over the same rows check nothing, so ten epochs stand beside the first. To leave checks out is no setting:
they are patched away, and so is what is read in smaller pieces for them. A second line compares with reading as it was
before each path was checked: without checks, and into memory in small pages. Seconds are those of the processor, as a
shared machine gives no others worth a limit.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from measuring import Block, Line, alternate, begin, on_processor, print_table

from reuse.caching import storage, stored_rows
from reuse.caching.activations import MappedActivations
from reuse.caching.cache import ActivationCache
from reuse.caching.store import PrefixCache
from reuse.caching.stored_rows import StoredRows
from reuse.caching.verifying import Verifier
from reuse.data.rows import read_in_order
from reuse.data.windows import windows_for
from reuse.fingerprinting.fingerprint import Fingerprint
from reuse.layers.frontier_tensor import FrontierTensor

BATCH, EPOCHS = 256, 10
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
        mock.patch.object(Verifier, "__init__", nothing),
        mock.patch.object(Verifier, "awaits", nothing),
        mock.patch.object(Verifier, "check_read", nothing),
        mock.patch.object(StoredRows, "check", nothing),
        mock.patch.object(stored_rows, "PIECE_BYTES", 2**40),
    ):
        yield


@contextmanager
def as_before() -> Iterator[None]:
    with unchecked(), mock.patch.object(storage, "HUGE_BYTES", 2**60):
        yield


def within(setting: Callable[[], AbstractContextManager[None]], work: Callable[[], object]) -> Block:
    def block() -> float:
        with setting():
            return on_processor(work)()

    return block


def in_windows(cache: PrefixCache, keys: np.ndarray, order: torch.Tensor, epochs: int = 1) -> None:
    rows = cache.activations(keys, memory=0)
    assert isinstance(rows, MappedActivations)
    for _ in range(epochs):
        with read_in_order(rows, order) as opened:
            for some in order.split(BATCH):
                opened.gather(some)


def in_batches(cache: PrefixCache, keys: np.ndarray, order: torch.Tensor, epochs: int = 1) -> None:
    rows = cache.activations(keys, memory=0)
    for _ in range(epochs):
        for some in order.split(BATCH):
            rows.gather(some)


def main() -> None:
    quick = begin(__doc__ or "")
    lines = []
    for features, count in ((64, 400_000), (512, 100_000), (4096, 12_000)):
        num_rows, rounds = (count // 20, 3) if quick else (count, 15)
        with tempfile.TemporaryDirectory() as folder:
            cache, keys = filled(Path(folder), torch.randn(num_rows, features))
            order = windows_for(4 * features).order(num_rows, torch.Generator().manual_seed(0))
            shuffled = np.random.default_rng(0).permutation(num_rows)
            passes: dict[str, Callable[[], object]] = {
                "load": partial(cache.activations, keys),
                "shuffled load": partial(cache.activations, keys[shuffled]),
                "windows": partial(in_windows, cache, keys, order),
                "batches": partial(in_batches, cache, keys, torch.from_numpy(shuffled)),
                f"{EPOCHS} epochs of windows": partial(in_windows, cache, keys, order, EPOCHS),
                f"{EPOCHS} epochs of batches": partial(in_batches, cache, keys, torch.from_numpy(shuffled), EPOCHS),
            }
            for name, work in passes.items():
                sides = {"without": within(unchecked, work), "before": within(as_before, work)}
                times = alternate({"with": on_processor(work), **sides}, rounds)
                for side in sides:
                    ratios = [b / a for a, b in zip(times["with"], times[side], strict=True)]
                    remark = f"{statistics.median(times['with']):.3f} s, {statistics.median(times[side]):.3f} s {side}"
                    lines.append(Line(f"{name}, {num_rows} × {features}: {side} / with checks", TARGET, ratios, remark))
    print_table("A first pass over rows in the page cache", lines)


if __name__ == "__main__":
    main()

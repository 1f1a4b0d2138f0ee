"""`reuse cache verify` beside reading the same file, and a build with journal and checksums beside a plain h5py write.

Run: `python tests/benchmarks/bench_verifying.py [--quick]`. Cold means that the file's pages were dropped from the
page cache (posix_fadvise), so that the disk is measured; warm, that they were not. Reading is `read` into one buffer of
8 MB from the first byte to the last. The plain writes store the same blocks in a contiguous HDF5 data set and sync
after each or once at the end. The cache syncs each too, while the next is computed, and what it does more is:
checksums, the journal and its sync, reserving the disk, the keys, publishing. Rows are computed by two layers of 512
units, far less than any network that is worth a cache, or are just copied.
"""

import os
import statistics
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import h5py
import numpy as np
import torch
from measuring import Block, Line, alternate, begin, print_table, timed

from reuse.caching.cache import ActivationCache
from reuse.caching.segment import KEY_BYTES
from reuse.caching.store import BLOCK_BYTES
from reuse.fingerprinting.fingerprint import Fingerprint
from reuse.layers.frontier_tensor import FrontierTensor

Compute = Callable[[torch.Tensor], torch.Tensor]
FEATURES = 512
COMPUTE_ROWS = 4096
COMPUTED_OF_A_BLOCK = BLOCK_BYTES // (COMPUTE_ROWS * (4 * FEATURES + KEY_BYTES))
FRONTIER = [FrontierTensor("features", (FEATURES,), torch.float32)]


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def drop(path: Path) -> None:
    """Let the page cache forget the file, which is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(8 * 2**20)
        while file.readinto(buffer):
            pass


def cold(path: Path, work: Block) -> Block:
    def block() -> float:
        drop(path)
        return work()

    return block


def by_cache(folder: Path, compute: Compute, keys: np.ndarray) -> Block:
    numbers = count()

    def write() -> None:
        cache = ActivationCache(folder)
        prefix = cache.open(Fingerprint({"build": str(next(numbers))}), FRONTIER)
        prefix.fill(keys, lambda positions: (compute(torch.from_numpy(positions)),), compute_rows=COMPUTE_ROWS)

    def block() -> float:
        seconds = timed(write)()
        ActivationCache(folder).clear()
        return seconds

    return block


def by_h5py(folder: Path, compute: Compute, num_rows: int, every_block: bool) -> Block:
    path = folder / "plain.h5"

    def write() -> None:
        with h5py.File(path, "w") as file:
            data_set = file.create_dataset("features", (num_rows, FEATURES), "f4")
            for number, start in enumerate(range(0, num_rows, COMPUTE_ROWS), 1):
                stop = min(start + COMPUTE_ROWS, num_rows)
                data_set[start:stop] = compute(torch.arange(start, stop)).numpy()
                if every_block and number % COMPUTED_OF_A_BLOCK == 0:
                    file.flush()
                    sync(path)
        sync(path)

    def block() -> float:
        seconds = timed(write)()
        path.unlink()
        return seconds

    return block


def main() -> None:
    quick = begin(__doc__ or "")
    num_rows, rounds = (20_000, 3) if quick else (200_000, 11)
    rows = torch.randn(num_rows, FEATURES)
    keys = np.random.default_rng(0).integers(0, 256, (num_rows, 16), np.uint8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = ActivationCache(folder / "cache")
        prefix = cache.open(Fingerprint({"weights": "none: a benchmark"}), FRONTIER)
        prefix.fill(keys, lambda positions: (rows[torch.from_numpy(positions)],), compute_rows=COMPUTE_ROWS)
        (segment,) = prefix.path.glob("segment-*.h5")
        assert cache.verify() == []
        verify, plain = timed(cache.verify), timed(lambda: read(segment))
        sides = {
            "cold verify": cold(segment, verify),
            "cold read": cold(segment, plain),
            "verify": verify,
            "read": plain,
        }
        times = alternate(sides, rounds)
        (folder / "builds").mkdir()
        layers = torch.nn.Sequential(*(torch.nn.Linear(FEATURES, FEATURES) for _ in range(2)))

        def frozen(indices: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return layers(rows[indices])

        built = {
            "build": by_cache(folder / "builds", frozen, keys),
            "synced": by_h5py(folder, frozen, num_rows, every_block=True),
            "once": by_h5py(folder, frozen, num_rows, every_block=False),
            "copy": by_cache(folder / "builds", rows.__getitem__, keys),
            "copy synced": by_h5py(folder, rows.__getitem__, num_rows, every_block=True),
        }
        times |= alternate(built, rounds)
    gigabytes = num_rows * FEATURES * 4 / 1e9
    rate = {side: f"{gigabytes / statistics.median(values):.2f} GB/s" for side, values in times.items()}
    lines = [
        Line(
            what,
            target,
            [b / a for a, b in zip(times[ours], times[other], strict=True)],
            f"{rate[ours]}, the other {rate[other]}",
        )
        for what, ours, other, target in (
            ("verify / read, cold", "cold verify", "cold read", 0.9),
            ("verify / read, warm", "verify", "read", 0),
            ("build / h5py, each block synced", "build", "synced", 0.95),
            ("build / h5py, synced once", "build", "once", 0),
            ("copies / h5py, each block synced", "copy", "copy synced", 0),
        )
    ]
    print_table(f"Verifying and building {gigabytes:.2f} GB: speeds, ours as a part of the other", lines)


if __name__ == "__main__":
    main()

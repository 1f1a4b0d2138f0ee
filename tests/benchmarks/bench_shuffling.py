"""A shuffled epoch of a cache that stays on disk, beside reading its file from end to end.

Run: `python tests/benchmarks/bench_shuffling.py [--quick]`. The file's pages are dropped from the page cache before
each measurement (posix_fadvise), so that every byte comes from the disk, and once more every time that a quarter of it
has been read, so that never more than that is in memory: a process whose memory is limited to a quarter of the file is
no worse off, and no rights are needed. To limit it for real: `systemd-run --scope -p MemoryMax=BYTES python …`. Reading
is `read` into one buffer of 8 MB; the epoch gives batches of 256 shuffled rows. The most memory it takes is printed.
"""

import os
import resource
import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measuring import Block, Line, alternate, begin, print_table, timed

from reuse.caching.activations import Activations
from reuse.caching.cache import ActivationCache
from reuse.data.rows import windows_of
from reuse.fingerprinting.fingerprint import Fingerprint
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.training.batches import batch_sizes, batches, row_order

FEATURES, BATCH = 512, 256
CPU = torch.device("cpu")


def drop(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def dropped(path: Path, work: Block) -> Block:
    def block() -> float:
        drop(path)
        return work()

    return block


def read(path: Path) -> None:
    buffer, done, quarter = bytearray(8 * 2**20), 0, path.stat().st_size // 4
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            done += count
            if done >= quarter:
                drop(path)
                done = 0


def by_windows(rows: Activations, path: Path) -> None:
    order = row_order(len(rows), seed=0, epoch=1, shuffle=True, device=CPU, windows=windows_of(rows))
    sizes = batch_sizes(len(rows), BATCH)
    for number, _ in enumerate(batches(rows, None, order, sizes, CPU), 1):
        if number % (len(sizes) // 4) == 0:
            drop(path)


def by_rows(rows: Activations, most: int) -> None:
    order = row_order(len(rows), seed=0, epoch=1, shuffle=True, device=CPU)
    for indices in order[:most].split(BATCH):
        rows.gather(indices)


def peak() -> int:
    """Return the most memory, in bytes, that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    quick = begin(__doc__ or "")
    num_rows, rounds, part = (100_000, 3, 50) if quick else (400_000, 7, 50)
    keys = np.random.default_rng(0).integers(0, 256, (num_rows, 16), np.uint8)
    # In this folder and not in one that may lie in memory.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        frontier = [FrontierTensor("features", (FEATURES,), torch.float32)]
        cache = ActivationCache(Path(folder)).open(Fingerprint({"weights": "none: a benchmark"}), frontier)
        cache.fill(keys, lambda positions: (torch.randn(len(positions), FEATURES),), compute_rows=4096)
        (segment,) = cache.path.glob("segment-*.h5")
        mapped, size = cache.activations(keys, memory=0), segment.stat().st_size
        some = part * BATCH
        before = peak()
        by_windows(mapped, segment)
        taken = (peak() - before) / 2**20
        sides = {
            "windows": dropped(segment, timed(partial(by_windows, mapped, segment))),
            "rows": dropped(segment, timed(partial(by_rows, mapped, some))),
            "read": dropped(segment, timed(partial(read, segment))),
        }
        times = alternate(sides, rounds)
    times["rows"] = [seconds * num_rows / some for seconds in times["rows"]]
    rate = {name: f"{size / 1e9 / statistics.median(values):.2f} GB/s" for name, values in times.items()}
    lines = [
        Line(
            what,
            target,
            [b / a for a, b in zip(times[ours], times["read"], strict=True)],
            f"{rate[ours]}, reading {rate['read']}",
        )
        for what, ours, target in (("epoch by windows / reading", "windows", 0.7), ("row by row / reading", "rows", 0))
    ]
    print_table(f"Shuffled epoch of {size / 2**20:.0f} MB from disk, taking {taken:.0f} MB of memory", lines)


if __name__ == "__main__":
    main()

"""Shuffled batches of 256 rows from a cache of 200,000 × 512 float32, beside tensors in memory and h5py.

Run: `python tests/benchmarks/bench_reading.py [--quick]`. All sides gather the same random row numbers: `index_select`
on a tensor in memory; the cache from RAM, where it goes when it fits; the cache through its memory map, where it stays
when it does not; and fancy indexing of the very same file with h5py, which wants the numbers sorted, so they are, and
the rows are put back in order. The file has been read before: this measures access, not the disk.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch
from measuring import Block, Line, alternate, begin, print_table, timed

from reuse.caching.cache import ActivationCache
from reuse.caching.store import PrefixCache
from reuse.fingerprinting.fingerprint import Fingerprint
from reuse.layers.frontier_tensor import FrontierTensor

FEATURES, BATCH = 512, 256
H5PY_BATCHES = 2  # a block of many would take longer than all others together


def filled(folder: Path, rows: torch.Tensor) -> tuple[PrefixCache, np.ndarray]:
    keys = np.random.default_rng(0).integers(0, 256, (len(rows), 16), np.uint8)
    frontier = [FrontierTensor("features", (FEATURES,), torch.float32)]
    cache = ActivationCache(folder).open(Fingerprint({"weights": "none: a benchmark"}), frontier)
    cache.fill(keys, lambda positions: (rows[torch.from_numpy(positions)],), compute_rows=4096)
    return cache, keys


def by_h5py(data_set: h5py.Dataset, indices: torch.Tensor) -> torch.Tensor:
    order = indices.numpy().argsort()
    gathered = torch.empty((len(indices), FEATURES))
    gathered[torch.from_numpy(order)] = torch.from_numpy(data_set[indices.numpy()[order]])
    return gathered


def over(batches: list[torch.Tensor], gather: Callable[[torch.Tensor], object]) -> Block:
    def block() -> None:
        for indices in batches:
            gather(indices)

    return timed(block)


def main() -> None:
    quick = begin(__doc__ or "")
    num_rows, rounds, num_batches = (20_000, 5, 20) if quick else (200_000, 41, 200)
    rows = torch.randn(num_rows, FEATURES)
    with tempfile.TemporaryDirectory() as folder:
        cache, keys = filled(Path(folder), rows)
        in_memory, mapped = cache.activations(keys), cache.activations(keys, memory=0)
        (segment,) = cache.path.glob("segment-*.h5")
        batches = list(torch.randperm(num_rows)[: num_batches * BATCH].split(BATCH))
        with h5py.File(segment, "r", locking=False) as file:
            (data_set,) = file["frontier"].values()
            for gather in (
                lambda i: in_memory.gather(i)[0],
                lambda i: mapped.gather(i)[0],
                lambda i: by_h5py(data_set, i),
            ):
                assert torch.equal(gather(batches[0]), rows[batches[0]])
            sides = {
                "index_select": over(batches, lambda i: rows.index_select(0, i)),
                "RAM": over(batches, in_memory.gather),
                "map": over(batches, mapped.gather),
                "h5py": over(batches[:H5PY_BATCHES], lambda i: by_h5py(data_set, i)),
            }
            times = alternate(sides, rounds)
    each = {name: [t / (H5PY_BATCHES if name == "h5py" else len(batches)) for t in times[name]] for name in times}
    microseconds = {name: statistics.median(values) * 1e6 for name, values in each.items()}
    remark = {name: f"{microseconds[name]:.0f} µs a batch" for name in each}
    lines = [
        Line(f"cache from {tier} / {other}", target, [b / a for a, b in zip(each[tier], each[other], strict=True)],
             f"{remark[tier]}, {other} {remark[other]}")
        for tier, other, target in (
            ("RAM", "index_select", 0.9), ("map", "index_select", 0.9), ("RAM", "h5py", 20), ("map", "h5py", 20),
        )
    ]  # fmt: skip
    print_table(f"Reading shuffled batches of {BATCH} from {num_rows} × {FEATURES} float32", lines)


if __name__ == "__main__":
    main()

"""What it costs to open a full cache: finding its rows and comparing the probe, beside the probe's forward pass.

Run: `python tests/benchmarks/bench_opening.py [--quick]`. A frozen ResNet-18 on images of 64×64 whose activations are
all cached: its key, finding the rows, reading and comparing the probe. The probe's forward pass is timed by itself, in
turn, and taken off. Seconds are those of the processor, as a shared machine gives no others worth a limit.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from measuring import Line, alternate, begin, on_processor, print_table
from torch import Tensor

from reuse.caching.cache import ActivationCache
from reuse.caching.chaining import PrefixCaches
from reuse.caching.probing import probe_rows, take_probe
from reuse.caching.spot_checking import mismatch
from reuse.caching.store import PrefixCache
from reuse.devices import Compute
from reuse.features.opening import COMPARED_ROWS
from reuse.features.running import run_frozen
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze

COMPUTE = Compute(torch.device("cpu"), "float32")
LIMIT = 0.05  # seconds


def main() -> None:
    quick = begin(__doc__ or "")
    rows, rounds = (500, 5) if quick else (10_000, 21)
    model = timm.create_model("resnet18", num_classes=10)
    freeze(model, "!fc")
    few = torch.randn(64, 3, 64, 64)
    parts = cut(model.train(), few)
    keys = np.random.default_rng(0).integers(0, 256, (rows, 16), np.uint8)
    values = [torch.randn(rows, *tensor.shape) for tensor in parts.frontier]

    def computed(inputs: Tensor) -> tuple[Tensor, ...]:
        return run_frozen(parts.prefix, (inputs,), COMPUTE)

    with tempfile.TemporaryDirectory() as folder:
        caches = PrefixCaches(ActivationCache(Path(folder)), {}, COMPUTE, {})
        opened = partial(caches.of, parts.prefix, parts.frontier)
        probe = partial(take_probe, few, computed, COMPUTE.device)
        opened().fill(keys, lambda positions: [value[positions] for value in values], compute_rows=1000, probe=probe)

        def open_whole(store: PrefixCache | None = None) -> None:
            store = store or opened()
            assert not len(store.missing(keys))
            found = mismatch(
                store, keys, lambda positions: [v[positions] for v in values], computed, rows=COMPARED_ROWS
            )
            assert found is None, found

        sides: dict[str, Any] = {
            "opening": on_processor(open_whole),
            "key": on_processor(opened),
            "forward": on_processor(lambda: computed(probe_rows(few[:4]))),
        }
        times = alternate(sides, rounds)
    rest = [whole - forward for whole, forward in zip(times["opening"], times["forward"], strict=True)]
    middle = {name: float(np.median(some)) * 1000 for name, some in times.items()}
    remark = (
        f"{middle['opening']:.0f} ms, the key {middle['key']:.0f} of them, the forward pass {middle['forward']:.0f}"
    )
    print_table(
        f"Opening {rows} cached rows",
        [Line("50 ms / opening without the probe's forward pass", 1, [LIMIT / max(1e-6, one) for one in rest], remark)],
    )


if __name__ == "__main__":
    main()

"""What channels last and bfloat16 gain: an epoch of a small convnet on grey images, and a step of a ResNet-18.

Run: `python tests/benchmarks/bench_layouts.py --threads 1`. Each beside the same training in float32 with the layout
that torch has by default; seconds of the processor, blocks of all sides in turn.
"""

import time
from collections.abc import Callable
from functools import partial

import timm
import torch
from measuring import Line, alternate, begin, print_table
from torch import nn

import reuse
from reuse.data.rows import Resident
from reuse.objectives.supervised import Classification
from reuse.training.settings import LoopSettings
from reuse.training.trainer import Trainer

ROUNDS, CLASSES = 5, 10
SIDES = {
    "plain": LoopSettings(batch_size=64),
    "channels last": LoopSettings(batch_size=64, channels_last=True),
    "bfloat16": LoopSettings(batch_size=64, precision="bfloat16"),
    "both": LoopSettings(batch_size=64, precision="bfloat16", channels_last=True),
}


def epochs_of(
    make: Callable[[], nn.Module], shape: tuple[int, ...], rows: int, loop: LoopSettings
) -> Callable[[], float]:
    """Return what trains one epoch more and says how many seconds of the processor that took."""
    torch.manual_seed(0)
    inputs, labels = Resident(torch.randn(rows, *shape)), torch.randint(CLASSES, (rows,))
    epochs = Trainer(make(), Classification(CLASSES), loop=loop).epochs(inputs, labels, epochs=1_000_000)
    next(epochs)  # whose first steps are slower

    def epoch() -> float:
        started = time.process_time()
        next(epochs)
        return time.process_time() - started

    return epoch


def main() -> None:
    quick = begin(__doc__ or "")
    cases: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
        "convnet:32,64, 28×28": (partial(reuse.build, "convnet:32,64", (1, 28, 28), CLASSES), (1, 28, 28), 2048),
        "ResNet-18, 64×64": (partial(timm.create_model, "resnet18", num_classes=CLASSES), (3, 64, 64), 256),
    }
    lines = []
    for name, (make, shape, rows) in cases.items():
        sides = {side: epochs_of(make, shape, 64 if quick else rows, loop) for side, loop in SIDES.items()}
        times = alternate(sides, 1 if quick else ROUNDS)
        for side in list(sides)[1:]:
            ratios = [plain / own for plain, own in zip(times["plain"], times[side], strict=True)]
            lines.append(Line(f"{name}: plain / {side}", 1.0, ratios))
    print_table("An epoch, seconds of the processor", lines)


if __name__ == "__main__":
    main()

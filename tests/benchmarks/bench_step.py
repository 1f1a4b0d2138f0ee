"""What the trainer's step costs beside the tightest loop written by hand: a linear head on resident rows.

Run: `python tests/benchmarks/bench_step.py`. Blocks of epochs of both loops alternate, so that whatever else the
machine does falls on both; the ratio of each pair of blocks is taken, and the median of the ratios printed.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from reuse.data.rows import Resident
from reuse.objectives.supervised import Classification
from reuse.optim.groups import OptimizerSettings
from reuse.training.settings import LoopSettings
from reuse.training.trainer import Trainer

ROWS, FEATURES, CLASSES, BATCH, PAIRS = 4096, 512, 10, 32, 60


def by_hand(model: nn.Module, rows: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, fused=True)

    def epoch() -> None:
        order = torch.randperm(len(rows), device=rows.device)
        total = torch.zeros((), device=rows.device)
        for indices, some in zip(order.split(BATCH), labels[order].split(BATCH), strict=True):
            loss = functional.cross_entropy(model(rows.index_select(0, indices)), some)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        total.item()

    return epoch


def by_trainer(model: nn.Module, rows: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    trainer = Trainer(
        model, Classification(CLASSES), optimization=OptimizerSettings("sgd"), loop=LoopSettings(batch_size=BATCH)
    )
    epochs = trainer.epochs(Resident(rows), labels, epochs=1_000_000)
    return lambda: next(epochs) and None


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    rows = torch.randn(ROWS, FEATURES, device=device)
    labels = torch.randint(CLASSES, (ROWS,), device=device)
    hand = by_hand(nn.Linear(FEATURES, CLASSES, device=device), rows, labels)
    ours = by_trainer(nn.Linear(FEATURES, CLASSES, device=device), rows, labels)
    for run in (hand, ours, hand, ours):
        run()
    pairs = [(seconds(hand), seconds(ours)) for _ in range(PAIRS)]
    ratio = statistics.median(mine / theirs for theirs, mine in pairs)
    steps = ROWS / BATCH
    microseconds = [statistics.median(times) / steps * 1e6 for times in zip(*pairs, strict=True)]
    print(f"{device}: by hand {microseconds[0]:.1f} µs a step, trainer {microseconds[1]:.1f} µs, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()

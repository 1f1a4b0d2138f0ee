"""Timing that a noisy machine cannot bend: blocks of all sides alternate, ratios are taken pair by pair."""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

import torch

THREADS = 2
CONFIDENCE = 0.95

Block = Callable[[], float]
"""Does some work and returns the seconds that count of it."""


@dataclass(frozen=True)
class Line:
    """One line of a benchmark's table: a ratio to be at least `target`, as measured in each pair of blocks."""

    what: str
    target: float
    ratios: Sequence[float]
    remark: str = ""


def begin(description: str) -> bool:
    """Read the command line, set the threads, and return whether only a quick look is wanted."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds on little data: shows that it runs")
    parser.add_argument("--threads", type=int, default=THREADS, help=f"threads of torch (default {THREADS})")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    return bool(arguments.quick)


def timed(work: Callable[[], object]) -> Block:
    """Return a block that calls `work` once and gives its wall-clock seconds."""

    def block() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return block


def on_processor(work: Callable[[], object]) -> Block:
    """Return a block that calls `work` once and gives its seconds on the processor."""

    def block() -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    return block


def alternate(sides: Mapping[str, Block], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each side's block in each round, every other round in the opposite order."""
    for block in sides.values():
        block()  # kernels chosen, pages mapped
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            times[name].append(sides[name]())
    return times


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the two values between which the true median lies with 95 % confidence (sign test), or all values.

    It assumes nothing about how the values are distributed, only that they are independent.
    """
    ordered, count = sorted(values), len(values)
    outside, kept = 0.0, 0
    for rank in range(count // 2):
        outside += 2 * comb(count, rank) / 2**count
        if outside > 1 - CONFIDENCE:
            break
        kept = rank
    return ordered[kept], ordered[-1 - kept]


def print_table(title: str, lines: Sequence[Line]) -> None:
    """Print what was measured against what was to be reached."""
    print(f"\n{title} ({torch.get_num_threads()} threads, CPU, torch {torch.__version__})")
    width = max(len(line.what) for line in lines)
    print(f"{'what':{width}}  target  median  95 % interval  met")
    for line in lines:
        low, high = median_interval(line.ratios)
        middle = statistics.median(line.ratios)
        met = "yes" if middle >= line.target else "NO"
        print(f"{line.what:{width}} {line.target:>7g} {middle:>7.2f} {low:>6.2f} – {high:<6.2f} {met:3}  {line.remark}")

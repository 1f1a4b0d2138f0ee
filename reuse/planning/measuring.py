"""Measuring what a plan rests on: the frozen layers one by one, a training step, the disk and the memory."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from reuse.devices import synchronize
from reuse.layers.preserving import unchanged_state

MEASURED_SECONDS = 0.02  # that one thing is measured for, and at least twice
LONG_SECONDS = 0.2  # what takes so long is measured once, and on fewer rows
FEW_ROWS = 8
PROBE_BYTES = 32 * 2**20
SMALL_BYTES = 64 * 2**20  # where no cache is larger, what disk and memory do is not worth measuring


@dataclass(frozen=True)
class Bandwidths:
    """Speeds in bytes a second.

    Attributes:
        writing: to the disk, block by block, each of which is on it before the next.
        reading: from the disk, not from memory in between where that can be told.
        gathering: rows at random places of memory.
    """

    writing: float
    reading: float
    gathering: float


ORDINARY = Bandwidths(writing=0.5e9, reading=1.0e9, gathering=3.0e9)
"""Speeds of any machine of today, for caches so small that they hardly count."""


def typical(work: Callable[[], object], device: torch.device, seconds: float = MEASURED_SECONDS) -> float:
    """Return the median seconds of several calls; what takes long is called once.

    The first call may have to prepare things, so where there are several it does not count. Not the fastest: a training
    takes them as they come.
    """
    first = _seconds(work, device)
    if first >= LONG_SECONDS:
        return first
    times = list[float]()
    while len(times) < 2 or sum(times) < seconds:
        times.append(_seconds(work, device))
    return statistics.median(times)


def measurable_rows(work: Callable[[int], object], rows: int, device: torch.device) -> int:
    """Return how many of `rows` rows to measure on, so that a call takes no longer than it must.

    Args:
        work: is called with a number of rows.
        rows: that there are.
        device: where.
    """
    few = min(FEW_ROWS, rows)
    each = typical(lambda: work(few), device) / few
    return int(min(rows, max(few, LONG_SECONDS / max(each, 1e-9))))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def node_seconds(prefix: fx.GraphModule, inputs: tuple[Tensor, ...], device: torch.device) -> dict[str, float]:
    """Return the seconds that each node of a prefix takes, by name: of a second run, where the first is not long."""
    with torch.no_grad():
        taken = _timed(prefix, inputs, device)
        return _timed(prefix, inputs, device) if sum(taken.values()) < LONG_SECONDS else taken


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Put back everything of a model that training steps move: parameters, gradients, buffers, modes, random state."""
    kept = [(p, p.detach().clone()) for p in model.parameters() if p.requires_grad]
    with unchanged_state(model):
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in kept:
                    parameter.copy_(value)
            model.zero_grad(set_to_none=True)


def measure_bandwidths(folder: Path) -> Bandwidths:
    """Measure disk and memory, with a file that is gone again afterwards; what cannot be measured is ordinary.

    Args:
        folder: that the cache is in, or will be.
    """
    place = next((f for f in (folder, *folder.absolute().parents) if f.is_dir()), Path())
    try:
        writing, reading = _disk(place)
    except OSError:
        writing, reading = ORDINARY.writing, ORDINARY.reading
    return Bandwidths(writing, reading, _gathering())


class _TimedInterpreter(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, device: torch.device) -> None:
        super().__init__(module)
        self.device, self.seconds = device, dict[str, float]()

    def run_node(self, n: fx.Node) -> Any:
        synchronize(self.device)
        started = time.perf_counter()
        value = super().run_node(n)
        synchronize(self.device)
        self.seconds[n.name] = time.perf_counter() - started
        return value


def _timed(prefix: fx.GraphModule, inputs: tuple[Tensor, ...], device: torch.device) -> dict[str, float]:
    timing = _TimedInterpreter(prefix, device)
    timing.run(*inputs)
    return timing.seconds


def _disk(folder: Path) -> tuple[float, float]:
    block = os.urandom(PROBE_BYTES // 4)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        started = time.perf_counter()
        for _ in range(4):
            file.write(block)
            os.fsync(file.fileno())
        writing = time.perf_counter() - started
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        started = time.perf_counter()
        while file.read(len(block)):
            pass
        reading = time.perf_counter() - started
    return PROBE_BYTES / writing, PROBE_BYTES / reading


def _gathering() -> float:
    rows = torch.empty(PROBE_BYTES // 2048, 512).normal_(generator=torch.Generator().manual_seed(0))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return PROBE_BYTES / typical(lambda: rows[order], torch.device("cpu"), 0.02)

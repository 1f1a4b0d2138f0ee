"""A hundred epochs leak nothing: neither memory nor objects, with validation, averages and checkpoints."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reuse
from reuse.reporting import Epoch, Reporter

X = np.random.default_rng(0).random((2000, 64)).astype(np.float32)
Y = np.arange(len(X)) % 10
FIRST, LAST = 10, 100


class Watch(Reporter):
    """Notes the resident size in bytes, and how many objects are alive, after two of the epochs."""

    def __init__(self) -> None:
        self.resident: dict[int, int] = {}
        self.objects: dict[int, int] = {}

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        if epoch.number in (FIRST, LAST):
            gc.collect()
            self.objects[epoch.number] = len(gc.get_objects())
            self.resident[epoch.number] = resident_size()


def resident_size() -> int:
    """Return the bytes of this process that are in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


def pretrained(watch: Watch) -> None:
    settings: dict[str, Any] = {"ema": 0.99, "schedule": "cosine", "norm": "batch", "augment": "noise:0.1"}
    training: dict[str, Any] = {"epochs": LAST, "early_stopping": False, "reporter": watch}
    reuse.pretrain("supervised", data=(X, Y), model="mlp:100,50", **settings, **training)


def finetuned_from_cache(watch: Watch) -> None:
    run = reuse.pretrain("supervised", data=(X, Y), model="mlp:100,50", epochs=1).run
    reuse.finetune(run, data=(X, Y), freeze="hidden1", epochs=LAST, early_stopping=False, reporter=watch)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the resident size is read from /proc")
@pytest.mark.parametrize("train", [pretrained, finetuned_from_cache])
def test_a_hundred_epochs_leak_nothing(train: Callable[[Watch], None]) -> None:
    watch = Watch()
    train(watch)
    assert watch.resident[LAST] < 1.05 * watch.resident[FIRST]
    assert watch.objects[LAST] - watch.objects[FIRST] < LAST - FIRST  # not even one object an epoch

"""How much of what is being cached an interruption may cost."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import reuse
from listening import Listener
from reuse.caching.store import BLOCK_BYTES
from reuse.data.samples import SampleInputs
from reuse.devices import Compute
from reuse.features import filling
from reuse.features.filling import KEPT_SECONDS, block_bytes, rows_at_once
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.planning.plan import Plan
from reuse.reporting import Progress
from reuse.runs.fitting import Interrupted

STORED = [FrontierTensor("layer", (512,), torch.float32)]
ROW_BYTES = 512 * 4 + 16
PLAN = Plan(
    cache=True,
    reason="",
    rows=1000,
    missing=1000,
    epochs=10,
    bytes_per_sample=2048,
    bytes=2_048_000,
    frozen_seconds=400.0,
    suffix_seconds=1.0,
    with_cache=450.0,
    without_cache=5000.0,
    later=10.0,
)


def test_what_is_slow_is_written_every_few_seconds() -> None:
    rows = block_bytes(PLAN, STORED) // ROW_BYTES
    assert 1 <= rows * PLAN.without_cache / (PLAN.epochs * PLAN.rows) <= KEPT_SECONDS
    assert block_bytes(replace(PLAN, without_cache=1e6), STORED) == ROW_BYTES
    for quick in (1e-6, 0.0):
        assert block_bytes(replace(PLAN, without_cache=quick, rows=10**6, stored_rows=10**6), STORED) == BLOCK_BYTES


class Impatient(Listener):
    """Presses Ctrl-C after 200 rows of caching."""

    @contextmanager
    def rows(self, total: int, what: str) -> Iterator[Progress]:
        yield AfterRows(200)


class AfterRows(Progress):
    def __init__(self, rows: int) -> None:
        self.left = rows

    def advance(self, rows: int) -> None:
        self.left -= rows
        if self.left < 0:
            raise KeyboardInterrupt


def test_an_interruption_while_caching_costs_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "KEPT_SECONDS", 1e-9)
    source = reuse.pretrain(model="mlp:16,8", epochs=1, out="source").run
    settings: dict[str, Any] = {"data": "digits", "freeze": "hidden1", "epochs": 2, "out": "run", "compare": False}
    with pytest.raises(Interrupted, match="--resume run"):
        reuse.finetune(source, **settings, cache_kind="disk", reporter=Impatient())
    cached = reuse.finetune(resume="run").cache
    assert cached is not None
    assert cached["rows"]["found"] == 192, "three blocks of 64 rows were whole"


@pytest.mark.parametrize(
    ("shape", "device", "rows"),
    [((64,), "cpu", 64), ((3, 128, 128), "cpu", 21), ((3, 512, 512), "cpu", 8), ((3, 512, 512), "cuda", 64)],
)
def test_a_processor_sees_fewer_rows_at_once_where_they_are_large(
    shape: tuple[int, ...], device: str, rows: int
) -> None:
    inputs = SampleInputs((torch.empty(1, *shape),), np.empty((1, 16), np.uint8))
    assert rows_at_once(inputs, Compute(torch.device(device), "float32")) == rows

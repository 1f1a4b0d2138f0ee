"""A training whose forward comes to read what is not stored goes on without the cache."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reuse
from reuse.reporting import Reporter

LARGE = 3.0  # what the forward looks at in a row that stands out


class Rarely(nn.Module):
    """Adds its input where a row is large."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.body(x)
        if rows.abs().max() > LARGE:
            rows = rows + x
        return self.head(rows)


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def model() -> Rarely:
    torch.manual_seed(0)
    return Rarely()


def test_the_training_goes_on_without_the_cache(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows, labels = generator.normal(size=(400, 6)).astype("float32"), np.arange(400) % 3
    rows[250] *= 200
    given = {"data": (rows, labels), "freeze": "body", "epochs": 3, "cache_dir": tmp_path / "cache", "seed": 0}
    said = Lines()
    found = reuse.finetune(model(), **given, cache_kind="disk", out=tmp_path / "cached", reporter=said)
    alone = reuse.finetune(model(), **given, cache=False, out=tmp_path / "alone")
    assert sum("going on without the cache, from the last checkpoint" in line for line in said.lines) == 1
    assert found.epochs == alone.epochs
    assert found.metrics["test"]["loss"] == pytest.approx(alone.metrics["test"]["loss"], rel=1e-4)

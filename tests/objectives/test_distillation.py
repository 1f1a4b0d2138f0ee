"""Distillation: the softened divergence by hand, a teacher asked once, classes that differ refused."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.distillation import Distillation

RANDOM = np.random.default_rng(0)
ROWS, LABELS = RANDOM.normal(size=(120, 6)).astype(np.float32), np.arange(120) % 3


class Counting(nn.Module):
    """A teacher that counts the rows that it sees in its forward, outside of any graph."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.output(x)
        return logits


@pytest.mark.parametrize("temperature", [0.5, 1.0, 6.0])
def test_the_loss_is_the_divergence_written_by_hand(temperature: float) -> None:
    own, teacher = torch.randn(2, 9, 4, dtype=torch.float64)
    objective = Distillation(nn.Identity(), temperature)
    batch = Batch((own,), teacher)
    total = agreed = 0.0
    for z, v in zip(own.tolist(), teacher.tolist(), strict=True):
        p, q = ([math.exp(x / temperature) for x in logits] for logits in (v, z))
        p, q = ([x / sum(xs) for x in xs] for xs in (p, q))
        total += temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        agreed += z.index(max(z)) == v.index(max(v))
    assert objective.losses(lambda x: x, batch)["loss"].item() == pytest.approx(total / 9, rel=1e-9)
    metrics = objective.metrics(objective.tally(lambda x: x, batch))
    assert metrics == {"loss": pytest.approx(total / 9, rel=1e-9), "agreement": pytest.approx(agreed / 9)}


def test_a_pupil_learns_what_a_run_says_and_its_layers_are_reused() -> None:
    reuse.pretrain("supervised", data=(ROWS, LABELS), model="mlp:30", epochs=30, early_stopping=False, out="teacher")
    result = reuse.pretrain(
        Distillation("teacher"), data=(ROWS, LABELS), model="mlp:20", epochs=60, early_stopping=False, out="run"
    )
    assert result.metrics["train"]["agreement"] > 0.8, "chance is a third"
    tuned = reuse.finetune("run", freeze="hidden1", data=(ROWS, LABELS), epochs=1, cache=False)
    assert tuned.frozen == ("hidden1",)


def test_what_the_teacher_says_is_that_of_the_module_and_is_found_in_the_cache_the_next_time() -> None:
    torch.manual_seed(0)
    teacher = Counting()
    logits = teacher(torch.from_numpy(ROWS)).detach()
    runs = []
    for name in ("first", "second"):
        reuse.pretrain(Distillation(teacher), data=(ROWS, None), model="mlp:8", epochs=2, out=name, cache_dir="cache")
        runs.append(sorted(Path("cache").rglob("*.h5")))
    assert runs[0] == runs[1] != [], "nothing was computed again"
    assert logits.shape == (120, 3)


def test_a_resumed_training_asks_the_same_teacher() -> None:
    teacher = Counting()
    settings = {"data": (ROWS, None), "model": "mlp:8", "cache_dir": "cache"}
    whole = reuse.pretrain(Distillation(teacher), **settings, epochs=4, out="whole")
    reuse.pretrain(Distillation(teacher), **settings, epochs=2, out="run")
    resumed = reuse.pretrain(Distillation(teacher), resume="run", data=(ROWS, None), epochs=4)
    assert resumed.metrics == whole.metrics


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="temperature is 0"):
        Distillation(temperature=0.0)
    with pytest.raises(UsageError, match="learns from a teacher: give it the folder"):
        reuse.pretrain(Distillation(), data=(ROWS, None), model="mlp:4", epochs=1, out="run")
    with pytest.raises(UsageError, match="teacher tells 3 classes apart and the data has 2"):
        reuse.pretrain(Distillation(Counting()), data=(ROWS, LABELS % 2), model="mlp:4", epochs=1, out="run")
    reuse.pretrain("supervised", data=(ROWS, LABELS), model="mlp:4", epochs=1, out="teacher")
    with pytest.raises(UsageError, match="tells 0, 1, 2 apart and the data 0, 1: give a teacher of the same"):
        reuse.pretrain(Distillation("teacher"), data=(ROWS, LABELS % 2), model="mlp:4", epochs=1, out="run")
    assert not Path("run").exists()

"""SimCLR: NT-Xent by a loop, and what it does not take."""

import math

import numpy as np
import pytest

import reuse
from reuse.errors import UsageError
from reuse.objectives.menu import OBJECTIVES
from reuse.objectives.simclr import SimClr
from view_outputs import BATCH, ROWS, drawn, said


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_is_that_of_a_loop_over_views(temperature: float) -> None:
    first, second = drawn(2, 7, 4)
    loss = SimClr(temperature=temperature).losses(said(first, second), BATCH)["loss"]
    views = np.concatenate([first.numpy(), second.numpy()])
    total = 0.0
    for i in range(14):
        cosines = [views[i] @ v / np.linalg.norm(views[i]) / np.linalg.norm(v) for v in views]
        others = sum(math.exp(cosines[k] / temperature) for k in range(14) if k != i)
        total -= math.log(math.exp(cosines[(i + 7) % 14] / temperature) / others)
    assert loss.item() == pytest.approx(total / 14, rel=1e-9)


def test_neither_lengths_nor_the_order_of_rows_matter() -> None:
    first, second = drawn(2, 7, 4)
    one, scaled, shuffled = (
        SimClr().losses(said(*pair), BATCH)["loss"].item()
        for pair in ((first, second), (3 * first, second / 5), (first.flip(0), second.flip(0)))
    )
    assert one == pytest.approx(scaled)
    assert one == pytest.approx(shuffled)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="temperature is 0"):
        SimClr(temperature=0)
    data = reuse.load((ROWS.numpy(), None))
    with pytest.raises(UsageError, match="0 hidden units to 64 numbers"):
        SimClr(hidden=0).build(reuse.build("mlp:4", (6,), 2), data)


@pytest.mark.parametrize("name", [n for n, entry in OBJECTIVES.items() if entry.kind.least_rows > 1])
def test_a_batch_of_one_is_refused_in_one_line(name: str) -> None:
    entry = OBJECTIVES[name]
    targets = np.arange(40) % 2 if entry.kind.needs_labels else None
    with pytest.raises(UsageError, match=f"{name} compares the rows of a batch, and batches hold 1") as refused:
        reuse.pretrain(name, data=(ROWS.numpy(), targets), model="mlp:4", batch_size=1, out="run")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [n for n, entry in OBJECTIVES.items() if entry.kind.whole_batches])
def test_several_processes_are_refused_where_they_would_learn_something_else(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reuse.setup.pretraining.world_size", lambda: 2)
    targets = np.arange(40) % 2 if OBJECTIVES[name].kind.needs_labels else None
    with pytest.raises(UsageError, match=f"{name} compares the rows of a whole batch, of which each of 2 processes"):
        reuse.pretrain(name, data=(ROWS.numpy(), targets), model="mlp:4", out="run")

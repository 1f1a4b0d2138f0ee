"""SCARF: the loss of the paper, draws from training rows alone, and what it does not suit."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.scarf import CorruptionContrast, Scarf

ROWS = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


def built(objective: Scarf, model: str = "mlp:24,16") -> CorruptionContrast:
    torch.manual_seed(0)
    trained = objective.build(reuse.build(model, (6,), 3), reuse.load((ROWS, None)))
    assert isinstance(trained, CorruptionContrast)
    return trained.double()


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_the_loss_is_the_sum_written_by_hand(temperature: float) -> None:
    objective = Scarf(temperature=temperature, hidden=32, size=4)
    network, rows = built(objective), torch.from_numpy(ROWS[:9]).double()
    torch.manual_seed(1)
    loss = objective.losses(network, Batch((rows,)))["loss"]
    torch.manual_seed(1)
    corrupted, _ = network.marginal.corrupt(rows, 0.6)
    with torch.no_grad():
        clean, copies = (network.projector(network.encoder(some)).numpy() for some in (rows, corrupted))
    total = 0.0
    for i in range(9):
        scores = [clean[i] @ copies[k] / np.linalg.norm(clean[i]) / np.linalg.norm(copies[k]) for k in range(9)]
        total -= math.log(math.exp(scores[i] / temperature) / sum(math.exp(s / temperature) for s in scores))
    assert loss.item() == pytest.approx(total / 9, rel=1e-9)


def test_the_length_of_projections_changes_nothing() -> None:
    objective = Scarf(hidden=32, size=4)
    network, batch = built(objective), Batch((torch.from_numpy(ROWS).double(),))
    losses = []
    for factor in (1.0, 50.0):
        with torch.no_grad():
            network.projector[2].weight.mul_(factor)  # type: ignore[operator, union-attr]
        torch.manual_seed(1)
        losses.append(objective.losses(network, batch)["loss"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_columns_are_drawn_from_training_rows_alone(tmp_path: Path) -> None:
    rows = {"x_train": ROWS[:20], "x_valid": ROWS[20:30] + 100, "x_test": ROWS[30:] + 1000}
    reuse.pretrain(Scarf(hidden=32, size=4), data=rows, model="mlp:8", epochs=1, out=tmp_path / "run")
    kept = load_file(tmp_path / "run" / "marginal.safetensors")["rows"]
    assert kept.shape == (20, 6)
    assert kept.abs().max() < 10, "standardised by the training rows, the others would lie far off"


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    for settings, message in (
        ({"corruption": 1.0}, r"columns replaced is 1\.0"),
        ({"temperature": 0.0}, r"temperature is 0\.0"),
    ):
        with pytest.raises(UsageError, match=message):
            Scarf(**settings)
    for rows, message in ((np.zeros((9, 1, 4, 4), np.float32), r"of shape \(1, 4, 4\)"), (ROWS[:, :1], "has one")):
        with pytest.raises(UsageError, match=message):
            reuse.pretrain(Scarf(), data=(rows, None), model="mlp:8", epochs=1, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()

"""VIME: both losses by hand, a mask that says what changed, and settings that cannot be."""

import math

import numpy as np
import pytest
import torch

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.vime import Imputer, Vime

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(40, 6)).astype(np.float32)


def built(objective: Vime) -> Imputer:
    torch.manual_seed(0)
    trained = objective.build(reuse.build("mlp:8,5", (6,), 3), reuse.load((ROWS, None)))
    assert isinstance(trained, Imputer)
    return trained.double()


def test_both_losses_are_the_sums_written_by_hand() -> None:
    objective = Vime(corruption=0.5, alpha=3.0)
    network, rows = built(objective), torch.from_numpy(ROWS[:9]).double()
    torch.manual_seed(1)
    losses = objective.losses(network, Batch((rows,)))
    torch.manual_seed(1)
    corrupted, _ = network.marginal.corrupt(rows, 0.5)
    with torch.no_grad():
        coding = network.encoder(corrupted)
        logits, values = network.mask(coding).numpy(), network.values(coding).numpy()
    mask = error = 0.0
    for i in range(9):
        for j in range(6):
            share = 1 / (1 + math.exp(-logits[i, j]))
            changed = bool(corrupted[i, j] != rows[i, j])
            mask -= math.log(share if changed else 1 - share)
            error += (values[i, j] - float(rows[i, j])) ** 2
    assert losses["mask"].item() == pytest.approx(mask / 54, rel=1e-9)
    assert losses["values"].item() == pytest.approx(3 * error / 54, rel=1e-9)


def test_a_column_is_changed_where_any_of_its_inputs_is_and_not_where_the_draw_gave_the_same() -> None:
    table = reuse.load({"x": RANDOM.integers(0, 2, (60, 4)).astype(np.float32)})
    torch.manual_seed(0)
    network = Vime(0.5).build(reuse.build("mlp:4", (4,), 2), table)
    rows = table.train.inputs.resident()
    assert rows is not None
    _, changed, _ = network(rows)
    assert changed.sum(1).max() <= 2
    assert 0 < changed.mean() < 0.45, "half of the columns were replaced, and about half of these by their own value"


@pytest.mark.parametrize(("settings", "message"), [({"corruption": 0.0}, "replaced is 0"), ({"alpha": -1.0}, "alpha")])
def test_what_cannot_be_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Vime(**settings)

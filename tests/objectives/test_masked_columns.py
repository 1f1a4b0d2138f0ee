"""Hidden columns: the loss by hand over numbers and categories, exact counts, and no way to copy what is hidden."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import reuse
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.masked_columns import ColumnPredictor, MaskedColumns


@pytest.fixture(scope="module")
def table() -> Dataset:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(50, 3)), columns=["a", "b", "c"])
    frame.insert(1, "kind", random.choice(["x", "y", "z"], 50))
    return reuse.load(frame, target="none")


def built(objective: MaskedColumns, table: Dataset) -> ColumnPredictor:
    torch.manual_seed(0)
    trained = objective.build(reuse.build("mlp:8,5", table.input_shape, 2), table)
    assert isinstance(trained, ColumnPredictor)
    return trained.double()


def test_the_loss_is_the_mean_over_hidden_columns_written_by_hand(table: Dataset) -> None:
    objective = MaskedColumns(0.5)
    network, rows = built(objective, table), table.train.inputs.resident()[:9].double()  # type: ignore[index]
    torch.manual_seed(1)
    loss = objective.losses(network, Batch((rows,)))["loss"]
    torch.manual_seed(1)
    hidden = network.columns.draw(9, 0.5)
    damaged = rows.clone()
    places = {0: [0], 1: [1, 2, 3], 2: [4], 3: [5]}
    for i in range(9):
        for column in hidden[i].nonzero().flatten().tolist():
            damaged[i, places[column]] = 0
    with torch.no_grad():
        told = network.decoder(network.encoder(damaged)).numpy()
    errors = []
    for i in range(9):
        for column in hidden[i].nonzero().flatten().tolist():
            truth, said = rows[i, places[column]].numpy(), told[i, places[column]]
            if column == 1:
                errors.append(math.log(np.exp(said).sum()) - said[truth.argmax()])
            else:
                errors.append((said - truth).item() ** 2)
    assert len(errors) == 18, "two of four columns in each row"
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-9)


def test_what_is_hidden_reaches_the_encoder_by_no_way(table: Dataset) -> None:
    network, rows = built(MaskedColumns(0.5), table), table.train.inputs.resident()[:9].double()  # type: ignore[index]
    seen: list[torch.Tensor] = []
    network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for factor in (1.0, -7.0):
        torch.manual_seed(1)
        hidden = network.columns.spread(network.columns.draw(9, 0.5))
        torch.manual_seed(1)
        network(torch.where(hidden, factor * rows, rows))
    assert torch.equal(*seen)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="columns hidden is"):
        MaskedColumns(share)

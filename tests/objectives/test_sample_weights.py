"""Weights of rows: a row of weight 2 counts as if it stood there twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import reuse
from reuse.data.loading import load
from reuse.data.rows import Batch
from reuse.errors import DataError, UsageError
from reuse.objectives.sample_weights import Weighted
from reuse.objectives.supervised import Classification, MultiLabel, Regression

RNG = np.random.default_rng(9)
COUNTS = torch.tensor([2, 0, 1, 3, 1])
LABELS: dict[str, Tensor] = {
    "classes": torch.tensor([0, 2, 1, 2, 0]),
    "labels": torch.tensor([[0, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 1, 1]]).double(),
    "numbers": torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
}
OBJECTIVES = [
    ("classes", Classification(3)),
    ("classes", Classification(3, 0.1)),
    ("classes", Classification(3, 0.0, (1.0, 2.0, 0.5))),
    ("labels", MultiLabel()),
    ("labels", MultiLabel((1.0, 2.0, 0.5))),
    ("numbers", Regression()),
]


@pytest.mark.parametrize(("kind", "objective"), OBJECTIVES)
def test_a_weight_of_2_is_a_row_that_stands_twice(kind: str, objective: Any) -> None:
    outputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = LABELS[kind]
    packed = torch.cat([labels.reshape(5, -1).double(), COUNTS[:, None].double()], dim=1)
    found = Weighted(objective).losses(nn.Identity(), Batch((outputs,), packed))["loss"]
    repeated = Batch((outputs.repeat_interleave(COUNTS, 0),), labels.repeat_interleave(COUNTS, 0))
    assert float(found) == pytest.approx(float(objective.losses(nn.Identity(), repeated)["loss"]), rel=1e-12)
    alike = Weighted(objective).tally(nn.Identity(), Batch((outputs,), packed))
    for name, total in objective.tally(nn.Identity(), Batch((outputs,), labels)).items():
        torch.testing.assert_close(alike[name], total)


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    a = RNG.normal(size=200)
    label = np.where(a > 0, "p", "q")
    weight = np.ones(200)
    label[::4], weight[::4] = "q", 0.0  # rows that say something else, and do not count
    return pd.DataFrame({"a": a, "weight": weight, "label": label})


def test_rows_of_no_weight_teach_nothing(table: pd.DataFrame) -> None:
    settings: dict[str, Any] = {"target": "label", "model": "mlp:8", "epochs": 40, "learning_rate": 0.02}
    reuse.pretrain("supervised", data=table, sample_weight="weight", out="weighted", **settings)
    model = reuse.load_model("weighted")
    assert [column.name for column in model.preprocessing.columns] == ["a"]
    positive = model.predict_proba(pd.DataFrame({"a": [0.6, 1.5]}))[:, 0]
    assert (positive > 0.8).all()  # three in four, were all counted alike
    resumed = reuse.pretrain(resume="weighted", data=table, epochs=41)
    assert resumed.metrics["test"]["accuracy"] > 0.5
    again = reuse.finetune("weighted", data=table, target="label", sample_weight="weight", freeze="hidden1", epochs=2)
    assert again.frozen == ("hidden1",)


def test_rows_have_weights_where_none_validate(table: pd.DataFrame) -> None:
    settings: dict[str, Any] = {"target": "label", "valid_fraction": 0.0, "test_fraction": 0.0, "epochs": 1}
    result = reuse.finetune("mlp:4", data=table, sample_weight="weight", **settings)
    assert result.sizes == {"train": 200, "valid": 0, "test": 0}


def test_what_is_no_weight_is_refused(table: pd.DataFrame) -> None:
    data = load(table, target="label", sample_weight="weight")
    assert data.train.weights is not None
    assert data.train.weights.tolist() == table["weight"][data.train.rows].tolist()
    for bad, message in ((-1, "is -1 in row 3"), (np.nan, "is nan in row 3")):
        with pytest.raises(DataError, match=rf"sample_weight='weight' {message} \(from 0"):
            load(
                table.assign(weight=table["weight"].where(table.index != 3, bad)),
                target="label",
                sample_weight="weight",
            )
    settings: dict[str, Any] = {"data": table, "target": "label", "sample_weight": "weight", "model": "mlp:4"}
    with pytest.raises(UsageError, match="leave sample_weight out, and its column with ignore"):
        reuse.pretrain("autoencoder", **settings)
    with pytest.raises(UsageError, match="mixup and cutmix mix rows"):
        reuse.pretrain("supervised", mixup=0.2, **settings)
    with pytest.raises(UsageError, match="names a column"):
        load("iris", sample_weight="weight")

"""Weights of rows: a row of weight 2 counts as if it stood there twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import reuse
from reuse.augmenting.mixing import mixed_by_weight
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


def losses_of_rows(objective: Any, outputs: Tensor, labels: Tensor) -> Tensor:
    each = [Batch((outputs[row : row + 1],), labels[row : row + 1]) for row in range(len(outputs))]
    return torch.stack([objective.losses(nn.Identity(), one)["loss"] for one in each])


@pytest.mark.parametrize("unit", [1.0, 1e-13])
@pytest.mark.parametrize(("kind", "objective"), [OBJECTIVES[place] for place in (0, 1, 3, 4, 5)])
def test_a_mixed_row_learns_from_both_rows_as_much_as_they_count(kind: str, objective: Any, unit: float) -> None:
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    order, share, labels, weights = torch.tensor([1, 0, 4, 2, 3]), 0.3, LABELS[kind], unit * COUNTS.double()

    def mix(batch: Batch) -> Batch:
        assert batch.targets is not None
        pairs = [share * some + (1 - share) * some[order] for some in (batch.inputs[0], batch.targets)]
        return Batch((pairs[0],), pairs[1])

    packed = torch.cat([labels.reshape(5, -1).double(), weights[:, None]], dim=1)
    batch = mixed_by_weight(mix, 3 if kind == "classes" else None)(Batch((inputs,), packed))
    outputs = batch.inputs[0].requires_grad_()
    loss = Weighted(objective).losses(nn.Identity(), batch)["loss"]
    each = [share * weights, (1 - share) * weights[order]]
    halves = zip(each, (labels, labels[order]), strict=True)
    expected = sum(count @ losses_of_rows(objective, outputs, of) for count, of in halves) / sum(map(torch.sum, each))
    if kind != "numbers":  # of which the squared error of a mean is less by what does not depend on the network
        torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, outputs)[0] for value in (loss, expected)))


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


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_the_unit_of_weights_does_not_matter(table: pd.DataFrame, mixup: float) -> None:
    settings: dict[str, Any] = {"target": "label", "sample_weight": "weight", "epochs": 2, "mixup": mixup}
    found = []
    for unit in (1.0, 1e-45, 1e300):  # float32 has neither
        own = table.assign(weight=unit * table["weight"])
        found.append(reuse.finetune("mlp:4", data=own, **settings).metrics["test"]["loss"])
    assert found[1:] == [pytest.approx(found[0], rel=1e-5)] * 2


def test_what_is_no_weight_is_refused(table: pd.DataFrame) -> None:
    data = load(table, target="label", sample_weight="weight")
    assert data.train.weights is not None
    assert data.train.weights.tolist() == table["weight"][data.train.rows].tolist()
    for bad, message in ((-1, "is -1 in row 3"), (np.nan, "is nan in row 3"), (np.inf, "is inf in row 3")):
        with pytest.raises(DataError, match=rf"sample_weight='weight' {message} \(from 0"):
            load(
                table.assign(weight=table["weight"].where(table.index != 3, bad)),
                target="label",
                sample_weight="weight",
            )
    with pytest.raises(DataError, match="all training rows have a sample_weight of 0: give some of them more"):
        load(table.assign(weight=0.0), target="label", sample_weight="weight")
    settings: dict[str, Any] = {"data": table, "target": "label", "sample_weight": "weight", "model": "mlp:4"}
    with pytest.raises(UsageError, match="leave sample_weight out, and its column with ignore"):
        reuse.pretrain("autoencoder", **settings)
    with pytest.raises(UsageError, match="names a column"):
        load("iris", sample_weight="weight")


@pytest.mark.parametrize("mixing", [{"mixup": 0.4}, {"mixup": 0.4, "freeze": "hidden1"}])
def test_rows_with_weights_are_mixed(table: pd.DataFrame, mixing: dict[str, Any]) -> None:
    result = reuse.finetune("mlp:8", data=table, target="label", sample_weight="weight", epochs=2, **mixing)
    assert np.isfinite(result.metrics["test"]["loss"])

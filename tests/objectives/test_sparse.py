"""Sparse codings: both costs against their formulas, zero where they are met; few active units come out."""

import math

import numpy as np
import pytest
import torch

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.sparse import Sparse

ROWS = np.random.default_rng(0).random((50, 6))


@pytest.mark.parametrize("penalty", ["kl", "l1"])
def test_the_cost_is_the_formulas(penalty: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x, decoded = torch.rand(2, 7, 6, generator=generator, dtype=torch.float64)
    coding = torch.rand(7, 5, generator=generator, dtype=torch.float64)
    objective = Sparse(weight=0.3, penalty=penalty, activity=0.2)
    found = objective.losses(lambda _: (decoded, coding), Batch((x,)))
    means = coding.numpy().mean(0)
    kl = sum(0.2 * math.log(0.2 / mean) + 0.8 * math.log(0.8 / (1 - mean)) for mean in means)
    cost = kl if penalty == "kl" else np.abs(coding.numpy()).mean()
    assert float(found["sparsity"]) == pytest.approx(0.3 * cost, rel=1e-12)
    assert float(found["reconstruction"]) == pytest.approx(((x - decoded).numpy() ** 2).mean(), rel=1e-12)


def test_units_that_are_as_active_as_asked_for_cost_nothing() -> None:
    coding = torch.full((8, 5), 0.2, dtype=torch.float64)
    losses = Sparse(1.0, "kl", 0.2).losses(lambda x: (x, coding), Batch((torch.zeros(8, 5, dtype=torch.float64),)))
    assert float(losses["sparsity"]) == pytest.approx(0, abs=1e-12)


def test_a_greater_weight_makes_units_less_active() -> None:
    def activity(weight: float) -> float:
        data = reuse.load((ROWS, None), test_fraction=0, valid_fraction=0)
        torch.manual_seed(0)
        objective = Sparse(weight, "kl", 0.05)
        network = objective.build(reuse.build("mlp:12", (6,), 3, activation="sigmoid"), data)
        rows = data.train.inputs.gather(torch.arange(50))[0]
        adam = reuse.OptimizerSettings("adam", learning_rate=0.05)
        list(reuse.Trainer(network, objective, optimization=adam).epochs(rows, None, epochs=20))
        return float(network(rows)[1].detach().mean())

    assert activity(1.0) < 0.25 < activity(0.0)


@pytest.mark.parametrize("bad", [{"weight": -1.0}, {"activity": 0.0}, {"activity": 1.0}, {"penalty": "l3"}])
def test_settings_that_mean_nothing_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Sparse(**bad)  # type: ignore[arg-type]


def test_a_divergence_of_what_is_no_share_is_refused() -> None:
    with pytest.raises(UsageError, match="give activation=sigmoid, or penalty=l1"):
        reuse.pretrain(Sparse(penalty="kl"), data=(ROWS, None), model="mlp:8", epochs=1)

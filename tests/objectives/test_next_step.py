"""The next step: its loss by hand, causality, padding, and what it cannot read."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import reuse
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.next_step import NextStep, StepForecaster

RANDOM = np.random.default_rng(0)
STEPS = RANDOM.normal(size=(30, 6, 3)).astype(np.float32)
TOKENS = RANDOM.integers(1, 9, (30, 6))
TOKENS[::3, 4:] = 0


def built(data: Dataset, spec: str = "gru:5") -> StepForecaster:
    torch.manual_seed(0)
    tokens = {} if data.num_tokens is None else {"num_tokens": data.num_tokens, "embedding_size": 4}
    trained = NextStep().build(reuse.build(spec, data.input_shape, 2, **tokens), data)
    assert isinstance(trained, StepForecaster)
    return trained.double()


def test_of_tokens_it_is_the_cross_entropy_over_those_that_are_there() -> None:
    network = built(reuse.load((TOKENS, None), vocabulary=9))
    rows = torch.from_numpy(TOKENS[:7])
    loss = NextStep().losses(network, Batch((rows,)))["loss"]
    logits = network(rows).detach().numpy()
    there = [(i, t) for i in range(7) for t in range(5) if TOKENS[i, t + 1]]
    errors = [math.log(np.exp(logits[i, t]).sum()) - logits[i, t, TOKENS[i, t + 1]] for i, t in there]
    assert len(errors) == 7 * 5 - 3 * 2
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-9)


def test_of_numbers_it_is_the_mean_squared_error() -> None:
    network = built(reuse.load((STEPS, None)), "lstm:5")
    rows = torch.from_numpy(STEPS).double()
    told = network(rows).detach().numpy()
    expected = np.mean([(told[i, t] - STEPS[i, t + 1].astype(float)) ** 2 for i in range(30) for t in range(5)])
    assert NextStep().losses(network, Batch((rows,)))["loss"].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("spec", ["gru:5,4", "lstm:5"])
def test_nothing_is_told_from_later_steps(spec: str) -> None:
    network, rows = built(reuse.load((STEPS, None)), spec), torch.from_numpy(STEPS).double()
    changed = rows.clone()
    changed[:, 3:] += 5
    before, after = network(rows), network(changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


def test_a_row_that_repeats_is_learned(tmp_path: Path) -> None:
    rows = (RANDOM.integers(0, 4, (80, 1)) + np.arange(8)) % 4 + 1  # 1, 2, 3, 4, 1, … from any place on
    settings = {"data": (rows, None), "vocabulary": 5, "model": "gru:16", "learning_rate": 0.02, "batch_size": 8}
    run = reuse.pretrain(NextStep(), epochs=15, out=tmp_path / "run", **settings)
    assert run.metrics["test"]["loss"] < 0.1, "log 4 where nothing was learned"
    assert reuse.finetune("run", freeze="gru1", data=(rows, rows[:, 0]), vocabulary=5, epochs=1).frozen == ("gru1",)


@pytest.mark.parametrize(
    ("rows", "model", "message"),
    [
        (STEPS, "mlp:5", "MLP is none: take lstm:64"),
        (STEPS[:, :1], "gru:5", "these sequences have one"),
        (STEPS[:, 0], "mlp:5", r"of shape \(3,\)"),
    ],
)
def test_what_cannot_be_is_refused(rows: np.ndarray, model: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        reuse.pretrain(NextStep(), data=(rows, None), model=model, epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()

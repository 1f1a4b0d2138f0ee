"""SimSiam: the loss by numpy, and which side learns."""

import numpy as np
import pytest
import torch

import reuse
from reuse.objectives.simsiam import PredictedPair, SimSiam
from view_outputs import BATCH, ROWS, drawn, said


def test_the_loss_is_the_mean_cosine_in_both_orders() -> None:
    z1, z2, p1, p2 = drawn(4, 7, 5)
    loss = SimSiam().losses(said(z1, z2, p1, p2), BATCH)["loss"].item()

    def distance(p: np.ndarray, z: np.ndarray) -> float:
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(p, z, strict=True)]
        return float(-np.mean(cosines))

    expected = distance(p1.numpy(), z2.numpy()) / 2 + distance(p2.numpy(), z1.numpy()) / 2
    assert loss == pytest.approx(expected, rel=1e-9)


def test_projections_get_no_gradient_but_by_the_predictions() -> None:
    outputs = [value.requires_grad_() for value in drawn(4, 7, 5)]
    SimSiam().losses(said(*outputs), BATCH)["loss"].backward()
    assert [value.grad is None for value in outputs] == [True, True, False, False]


def test_the_last_norm_of_the_projector_is_that_of_the_batch() -> None:
    network = SimSiam(hidden=8, size=6).build(reuse.build("mlp:5", (6,), 2), reuse.load((ROWS.numpy(), None)))
    assert isinstance(network, PredictedPair)
    first, second, *_ = network(ROWS)
    torch.testing.assert_close(torch.cat([first, second]).mean(0), torch.zeros(6), rtol=0, atol=1e-6)

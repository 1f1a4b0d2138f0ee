"""Triplets: the loss and the mining of the paper in plain loops, and batches without any."""

import numpy as np
import pytest
import torch

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.triplet import Triplet

RANDOM = np.random.default_rng(0)
LABELS = np.repeat(np.arange(4), 6)
ROWS = RANDOM.normal(size=(24, 6)).astype(np.float32)


def built(objective: Triplet) -> torch.nn.Module:
    torch.manual_seed(0)
    return objective.build(reuse.build("mlp:8", (6,), 4), reuse.load((ROWS, LABELS))).double()


def semi_hard_by_hand(distance: np.ndarray, labels: np.ndarray, margin: float) -> list[float]:
    errors = []
    for a in range(len(labels)):
        others = [distance[a, n] for n in range(len(labels)) if labels[n] != labels[a]]
        for p in range(len(labels)):
            if p != a and labels[p] == labels[a] and others:
                farther = [d for d in others if d > distance[a, p]]
                errors.append(max(0.0, distance[a, p] - (min(farther) if farther else max(others)) + margin))
    return errors


def hard_by_hand(distance: np.ndarray, labels: np.ndarray, margin: float) -> list[float]:
    errors = []
    for a in range(len(labels)):
        own = [distance[a, p] for p in range(len(labels)) if p != a and labels[p] == labels[a]]
        others = [distance[a, n] for n in range(len(labels)) if labels[n] != labels[a]]
        if own and others:
            errors.append(max(0.0, max(own) - min(others) + margin))
    return errors


@pytest.mark.parametrize("labels", [LABELS, np.array([0] * 20 + [1, 2, 3, 4]), RANDOM.integers(0, 9, 24)])
@pytest.mark.parametrize(("mining", "by_hand"), [("semi_hard", semi_hard_by_hand), ("hard", hard_by_hand)])
def test_the_loss_is_the_mean_over_mined_triplets(mining: str, by_hand, labels: np.ndarray) -> None:
    objective = Triplet(margin=0.3, mining=mining, size=4)
    network, rows = built(objective), torch.from_numpy(ROWS).double()
    points = network(rows).detach().numpy()
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    distance = ((points[:, None] - points[None]) ** 2).sum(2)
    loss = objective.losses(network, Batch((rows,), torch.from_numpy(labels)))["loss"]
    assert loss.item() == pytest.approx(np.mean(by_hand(distance, labels, 0.3)), rel=1e-9)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("mining", ["semi_hard", "hard"])
@pytest.mark.parametrize("labels", [LABELS * 0, np.arange(24)])
def test_a_batch_without_triplets_moves_nothing(labels: np.ndarray, mining: str) -> None:
    objective = Triplet(mining=mining)
    network = built(objective)
    loss = objective.losses(network, Batch((torch.from_numpy(ROWS).double(),), torch.from_numpy(labels)))["loss"]
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in network.parameters())


def test_rows_of_a_class_come_together() -> None:
    rows = (RANDOM.normal(size=(4, 6))[LABELS] + 0.3 * RANDOM.normal(size=(24, 6))).astype(np.float32)
    run = reuse.pretrain(Triplet(), data=(rows, LABELS), model="mlp:16", epochs=40, learning_rate=0.01, out="run")
    assert run.metrics["train"]["loss"] < 0.02
    assert reuse.finetune("run", freeze="hidden1", data=(rows, LABELS), epochs=1, cache=False).frozen == ("hidden1",)


@pytest.mark.parametrize(
    ("settings", "message"), [({"mining": "easy"}, "mining of triplets 'easy'"), ({"margin": 0.0}, "margin is 0")]
)
def test_settings_that_cannot_be_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Triplet(**settings)

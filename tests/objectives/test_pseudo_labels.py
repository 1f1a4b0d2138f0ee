"""Pseudo-labels: both losses by hand, a weight that rises, labels that are hidden from all but a few rows."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.self_taught import SelfTaught
from reuse.objectives.pseudo_labels import UNLABELLED, PseudoLabels

RANDOM = np.random.default_rng(0)
ROWS, LABELS = RANDOM.normal(size=(120, 6)).astype(np.float32), np.arange(120) % 3


def built(objective: PseudoLabels) -> SelfTaught:
    torch.manual_seed(0)
    trained = objective.build(reuse.build("mlp:8", (6,), 3), reuse.load((ROWS, LABELS)))
    assert isinstance(trained, SelfTaught)
    return trained


def test_both_losses_are_those_written_by_hand() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(40, 4, dtype=torch.float64, generator=draw)
    targets = torch.randint(-1, 4, (40,), generator=draw)
    weight = torch.tensor(0.7, dtype=torch.float64)
    losses = PseudoLabels(confidence=0.6).losses(lambda _: (logits, weight), Batch((logits,), targets))
    labelled, pseudo = [], []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        shares = [math.exp(x) / sum(map(math.exp, row)) for x in row]
        if target != UNLABELLED:
            labelled.append(-math.log(shares[target]))
        else:
            pseudo.append(-math.log(max(shares)) if max(shares) >= 0.6 else 0.0)
    assert 0 < sum(value > 0 for value in pseudo) < len(pseudo)
    assert losses["labelled"].item() == pytest.approx(sum(labelled) / len(labelled), rel=1e-9)
    assert losses["pseudo"].item() == pytest.approx(0.7 * sum(pseudo) / len(pseudo), rel=1e-9)


def test_the_weight_rises_in_equal_steps_and_stays() -> None:
    objective = PseudoLabels(weight=3.0, begin=0.2, end=0.6)
    network = built(objective)
    risen = []
    for progress in (0.1, 0.2, 0.3, 0.4, 0.6, 1.0):
        objective.after_step(network, progress)
        risen.append(network.weight.item())
    assert risen == pytest.approx([0, 0, 0.75, 1.5, 3, 3])
    assert "weight" in network.state_dict(), "a training that is resumed goes on from it"


def test_labels_beyond_the_first_of_each_class_are_never_seen() -> None:
    """Whatever the hidden labels are, training is the same bit for bit."""
    data = reuse.load((ROWS, LABELS))
    prepared = PseudoLabels(labels=4).prepare(data, lambda _: {})
    assert prepared.train.targets is not None
    assert data.train.targets is not None
    known = prepared.train.targets != UNLABELLED
    assert torch.equal(prepared.train.targets[known].bincount(), torch.tensor([4, 4, 4]))
    assert torch.equal(prepared.train.targets[known], data.train.targets[known])
    assert prepared.valid is data.valid


def test_labels_of_its_own_help_where_classes_lie_apart() -> None:
    middles = RANDOM.normal(size=(3, 6)) * 3
    rows = (middles[np.arange(300) % 3] + RANDOM.normal(size=(300, 6))).astype(np.float32)
    data = (rows, np.arange(300) % 3)
    settings: dict[str, Any] = {"data": data, "model": "mlp:20", "epochs": 40, "early_stopping": False, "seed": 0}
    objectives = [PseudoLabels(labels=2, weight=weight) for weight in (0.0, 1.0)]
    runs = [reuse.pretrain(objective, **settings, out=f"run{objective.weight}") for objective in objectives]
    scores = [run.metrics["test"]["accuracy"] for run in runs]
    assert scores[1] >= scores[0]
    assert scores[1] > 0.8


def test_its_layers_are_reused() -> None:
    result = reuse.pretrain("pseudo_labels", data=(ROWS, LABELS), model="mlp:8", epochs=1, out="run")
    assert set(result.metrics["test"]) == {"loss", "accuracy"}
    assert reuse.finetune("run", freeze="hidden1", data=(ROWS, LABELS), epochs=1, cache=False).frozen == ("hidden1",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": 0}, "0 rows of each class"),
        ({"confidence": 1.0}, "confidence is 1"),
        ({"begin": 0.7}, "from 0.7 to 0.6"),
        ({"weight": math.inf}, "rises to inf"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PseudoLabels(**settings)


def test_numbers_are_no_labels() -> None:
    with pytest.raises(UsageError, match="the task is regression"):
        reuse.pretrain("pseudo_labels", data=(ROWS, ROWS[:, 0]), model="mlp:4", epochs=1, out="run")

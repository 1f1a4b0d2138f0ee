"""Class weights against scikit-learn and torch, and what they mean for mixed targets."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from reuse.data.rows import Batch
from reuse.errors import DataError, UnknownNameError, UsageError
from reuse.objectives.supervised import Classification, MultiLabel, supervised
from reuse.objectives.weighting import parse_class_weights

NAMES = ("ant", "bee", "cow")
LABELS = torch.tensor([0, 1, 1, 2, 2, 2, 2, 1, 2])
WEIGHTS = (0.5, 2.0, 3.0)
LOGITS = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def loss_of(objective: Classification | MultiLabel, targets: torch.Tensor) -> torch.Tensor:
    return objective.losses(nn.Identity(), Batch((LOGITS,), targets))["loss"]


def test_balanced_is_scikit_learns() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    assert parse_class_weights("balanced", NAMES, LABELS) == pytest.approx(expected.tolist())


def test_several_labels_are_balanced_between_having_and_not_having() -> None:
    targets = torch.tensor([[1, 0], [1, 1], [1, 0], [0, 0]]).float()
    weights = parse_class_weights(" balanced", ("x", "y"), targets)
    having = torch.tensor(weights) * targets.sum(0)
    torch.testing.assert_close(having, (1 - targets).sum(0))


def test_weights_by_name() -> None:
    assert parse_class_weights("cow=2, ant=0.5", NAMES, LABELS) == (0.5, 1.0, 2.0)
    assert parse_class_weights("a=b=3", ("a=b", "c"), LABELS) == (3.0, 1.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_classification_is_weighted_as_torch_does(smoothing: float) -> None:
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    expected = nn.functional.cross_entropy(LOGITS, LABELS, weights, label_smoothing=smoothing)
    torch.testing.assert_close(loss_of(Classification(3, smoothing, WEIGHTS), LABELS), expected)
    if not smoothing:  # the weighted mean over rows
        each = -LOGITS.log_softmax(1)[torch.arange(9), LABELS]
        torch.testing.assert_close(expected, (weights[LABELS] * each).sum() / weights[LABELS].sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_shares_that_are_whole_are_labels(smoothing: float, weights: tuple[float, ...] | None) -> None:
    objective = Classification(3, smoothing, weights)
    shares = nn.functional.one_hot(LABELS).double()
    torch.testing.assert_close(loss_of(objective, shares), loss_of(objective, LABELS))


def test_a_row_of_two_halves_is_half_of_each_row() -> None:
    objective = Classification(3, 0.1, WEIGHTS)
    rows = LOGITS[:1].expand(2, -1)
    halves = objective.losses(nn.Identity(), Batch((rows[:1],), torch.tensor([[0.5, 0.0, 0.5]], dtype=torch.float64)))
    both = objective.losses(nn.Identity(), Batch((rows,), torch.tensor([0, 2])))
    torch.testing.assert_close(halves["loss"], both["loss"])


def test_several_labels_are_weighted_by_having_them() -> None:
    targets = (LOGITS.flip(0) > 0).float()
    loss = loss_of(MultiLabel(WEIGHTS), targets)
    sums = torch.tensor(WEIGHTS) * targets * LOGITS.sigmoid().log() + (1 - targets) * (1 - LOGITS.sigmoid()).log()
    torch.testing.assert_close(loss, -sums.mean())


@pytest.mark.parametrize("objective", [Classification(3, 0.1, WEIGHTS), MultiLabel(WEIGHTS)])
def test_metrics_are_measured_without_weights(objective: Classification | MultiLabel) -> None:
    plain = Classification(3) if isinstance(objective, Classification) else MultiLabel()
    batch = Batch((LOGITS,), LABELS if isinstance(objective, Classification) else (LOGITS.flip(0) > 0).float())
    found = objective.metrics(objective.tally(nn.Identity(), batch))
    assert found == plain.metrics(plain.tally(nn.Identity(), batch))


@pytest.mark.parametrize("targets", [LABELS, nn.functional.one_hot(LABELS).float()])
def test_weights_serve_in_reduced_precision(targets: torch.Tensor) -> None:
    network = nn.Linear(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        loss = Classification(3, 0.1, WEIGHTS).losses(network, Batch((LOGITS.float(),), targets))["loss"]
    full = Classification(3, 0.1, WEIGHTS).losses(network, Batch((LOGITS.float(),), targets))["loss"]
    torch.testing.assert_close(loss.float(), full, rtol=0.02, atol=0.02)


def test_supervised_passes_weights_on() -> None:
    assert supervised("classification", 3, class_weights=WEIGHTS) == Classification(3, 0.0, WEIGHTS)
    assert supervised("multilabel", 3, class_weights=WEIGHTS) == MultiLabel(WEIGHTS)
    assert hash(Classification(3, 0.0, WEIGHTS)) == hash(Classification(3, 0.0, WEIGHTS))
    with pytest.raises(UsageError, match="regression"):
        supervised("regression", 1, class_weights=WEIGHTS)
    with pytest.raises(UsageError, match="2 class weights for 3 classes"):
        supervised("classification", 3, class_weights=(1.0, 2.0))
    with pytest.raises(UsageError, match="above 0"):
        supervised("multilabel", 2, class_weights=(1.0, 0.0))


@pytest.mark.parametrize(
    ("text", "names", "error", "words"),
    [
        ("balancd", NAMES, UsageError, "ant=2"),
        ("bea=2", NAMES, UnknownNameError, "did you mean 'bee'"),
        ("bee=2,bee=3", NAMES, UsageError, "twice"),
        ("bee=-1", NAMES, UsageError, "above 0"),
        ("bee=many", NAMES, UsageError, "above 0"),
        ("balanced", (), UsageError, "numbers, not classes"),
        ("balanced", (*NAMES, "dog"), DataError, "no training row is dog"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, names: tuple[str, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        parse_class_weights(text, names, LABELS)


def test_a_label_that_every_row_has_cannot_be_balanced() -> None:
    with pytest.raises(DataError, match="every training row is x"):
        parse_class_weights("balanced", ("x", "y"), torch.tensor([[1.0, 0.0], [1.0, 1.0]]))

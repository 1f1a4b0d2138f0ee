"""Losses against formulas in float64, metrics against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import nn
from torch.nn import functional

from reuse.data.rows import Batch
from reuse.data.targets import TargetScale
from reuse.errors import UnknownNameError, UsageError
from reuse.objectives.objective import Objective
from reuse.objectives.supervised import Classification, MultiLabel, Regression, supervised

ROWS = 57


def measured(objective: Objective, outputs: torch.Tensor, targets: torch.Tensor, split: int) -> dict[str, float]:
    """The metrics of outputs given as inputs of an identity, in batches of `split` rows."""
    batches = [Batch((some,), labels) for some, labels in zip(outputs.split(split), targets.split(split), strict=True)]
    tallies = [objective.tally(nn.Identity(), batch) for batch in batches]
    return objective.metrics({name: sum(tally[name] for tally in tallies) for name in tallies[0]})


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("split", [1, 8, ROWS])
@pytest.mark.parametrize("num_labelled", [5, 3])
def test_classification_is_measured_as_scikit_learn_does(draw: torch.Generator, split: int, num_labelled: int) -> None:
    logits = torch.randn(ROWS, 7, generator=draw, dtype=torch.float64)
    logits[:, 5:] -= 100  # classes that are never predicted, so F1 meets some that occur in neither
    labels = torch.randint(num_labelled, (ROWS,), generator=draw)
    found = measured(Classification(7, label_smoothing=0.3), logits, labels, split)
    predicted = logits.argmax(1)
    assert found == pytest.approx(
        {
            "loss": reference.log_loss(labels, logits.softmax(1).numpy(), labels=range(7)),
            "accuracy": reference.accuracy_score(labels, predicted),
            "macro_f1": reference.f1_score(labels, predicted, average="macro"),
        },
        abs=1e-12,
    )


def test_classification_gradient_is_softmax_minus_smoothed_label(draw: torch.Generator) -> None:
    logits = torch.randn(ROWS, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(4, (ROWS,), generator=draw)
    (loss,) = Classification(4, label_smoothing=0.2).losses(nn.Identity(), Batch((logits,), labels)).values()
    loss.backward()
    wanted = 0.8 * nn.functional.one_hot(labels, 4) + 0.2 / 4
    torch.testing.assert_close(logits.grad, (logits.detach().softmax(1) - wanted) / ROWS)


@pytest.mark.parametrize("split", [5, ROWS])
def test_several_labels_are_measured_as_scikit_learn_does(draw: torch.Generator, split: int) -> None:
    logits = torch.randn(ROWS, 6, generator=draw, dtype=torch.float64)
    labels = (torch.rand(ROWS, 6, generator=draw) < 0.3).float()
    labels[:, 4], logits[:, 4] = 0, -1  # a label that no row has or is given
    found = measured(MultiLabel(), logits, labels, split)
    given, occurring = (logits > 0).int().numpy(), [0, 1, 2, 3, 5]
    likelihood = torch.where(labels > 0, logits.sigmoid(), 1 - logits.sigmoid())
    assert found == pytest.approx(
        {
            "loss": float(-likelihood.log().mean()),
            "accuracy": float(np.mean(given == labels.numpy())),
            "macro_f1": reference.f1_score(labels.int().numpy(), given, average="macro", labels=occurring),
        },
        abs=1e-12,
    )


def test_several_labels_gradient_is_sigmoid_minus_label(draw: torch.Generator) -> None:
    logits = torch.randn(ROWS, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    labels = torch.rand(ROWS, 3, generator=draw) < 0.5
    (loss,) = MultiLabel().losses(nn.Identity(), Batch((logits,), labels)).values()
    loss.backward()
    torch.testing.assert_close(logits.grad, (logits.detach().sigmoid() - labels.double()) / logits.numel())


@pytest.mark.parametrize("split", [1, 10, ROWS])
def test_regression_is_measured_as_scikit_learn_does(draw: torch.Generator, split: int) -> None:
    targets = 20 + torch.randn(ROWS, 3, generator=draw, dtype=torch.float64)
    targets[:, 2] = 0.5  # a constant: scikit-learn counts it as 0
    outputs = targets + 0.3 * torch.randn(ROWS, 3, generator=draw, dtype=torch.float64)
    found = measured(Regression(), outputs, targets, split)
    error = reference.mean_squared_error(targets.numpy(), outputs.numpy())
    assert found == pytest.approx(
        {"loss": error, "mse": error, "r2": reference.r2_score(targets.numpy(), outputs.numpy())}, abs=1e-10
    )


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_regression_on_large_targets_is_measured_in_float64(draw: torch.Generator, kind: torch.dtype) -> None:
    targets = (311_030 + 7 * torch.randn(ROWS, 1, generator=draw, dtype=torch.float64)).to(kind)
    outputs = targets + torch.randn(ROWS, 1, generator=draw, dtype=torch.float64).to(kind)
    found = measured(Regression(), outputs, targets, 8)
    assert found["r2"] == pytest.approx(
        reference.r2_score(targets.double().numpy(), outputs.double().numpy()), abs=1e-6
    )


def test_regression_in_a_scale_tells_errors_in_the_targets_units(draw: torch.Generator) -> None:
    scale = TargetScale((5.0, -1e6), (0.5, 2e3))
    targets, outputs = (torch.randn(ROWS, 2, generator=draw, dtype=torch.float64) for _ in range(2))
    found = measured(Regression(scale), outputs, targets, 8)
    own = [scale.restored(values) for values in (targets, outputs)]
    assert found["loss"] == pytest.approx(reference.mean_squared_error(targets.numpy(), outputs.numpy()))
    assert found["mse"] == pytest.approx(reference.mean_squared_error(*(some.numpy() for some in own)))
    assert found["r2"] == pytest.approx(reference.r2_score(*(some.numpy() for some in own)))


def test_regression_on_one_column_does_not_broadcast(draw: torch.Generator) -> None:
    outputs = torch.randn(ROWS, 1, generator=draw, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(ROWS, generator=draw, dtype=torch.float64)
    (loss,) = Regression().losses(nn.Identity(), Batch((outputs,), targets)).values()
    loss.backward()
    torch.testing.assert_close(outputs.grad, 2 * (outputs.detach() - targets[:, None]) / ROWS)
    assert measured(Regression(), outputs.detach(), targets, 8)["mse"] == pytest.approx(loss.item())


def test_regression_of_another_width_says_both_shapes() -> None:
    with pytest.raises(UsageError, match=r"\(4, 1\).*\(4, 2\)"):
        Regression().losses(nn.Identity(), Batch((torch.zeros(4, 1),), torch.zeros(4, 2)))


def test_supervised_picks_by_task() -> None:
    assert supervised("classification", 4, label_smoothing=0.1) == Classification(4, 0.1)
    assert isinstance(supervised("multilabel", 4), MultiLabel)
    assert isinstance(supervised("regression", 1), Regression)
    with pytest.raises(UnknownNameError, match="regression"):
        supervised("regressionx", 1)
    with pytest.raises(UsageError, match="label smoothing"):
        supervised("regression", 1, label_smoothing=0.1)


@pytest.mark.parametrize(("classes", "smoothing"), [(1, 0.0), (3, 1.0), (3, -0.1), (3, float("nan"))])
def test_impossible_classifications_are_refused(classes: int, smoothing: float) -> None:
    with pytest.raises(UsageError):
        Classification(classes, smoothing)


NUMBERS = torch.linspace(0, 3, 12, dtype=torch.float64)
LABELS = torch.arange(12) % 3
FLAGS = torch.stack([LABELS == 0, LABELS != 1], 1).long()


def verdict(objective: Objective, outputs: torch.Tensor, targets: torch.Tensor) -> str:
    return objective.failure(objective.tally(nn.Identity(), Batch((outputs.double(),), targets)))


@pytest.mark.parametrize(
    ("objective", "outputs", "targets", "said"),
    [
        (Classification(3), functional.one_hot(LABELS) * 9.0, LABELS, ""),
        (Classification(3), torch.eye(3)[[0] * 12], LABELS, "all training rows are taken for one class"),
        (Classification(3), torch.eye(3)[[0] * 12], LABELS * 0, ""),
        (Classification(3), torch.eye(3)[LABELS - 1] * 1e29, LABELS, "the loss on the training rows is 1e+29"),
        (MultiLabel(), FLAGS - 0.5, FLAGS, ""),
        (MultiLabel(), torch.tensor([[-1.0, 1.0]]).expand(12, 2), FLAGS, "given the same labels"),
        (Regression(), NUMBERS[:, None] + 0.1, NUMBERS, ""),
        (Regression(), NUMBERS.mean().expand(12, 1), NUMBERS, ""),
        (Regression(), -NUMBERS[:, None], NUMBERS, "the mean of the targets is a better prediction (r2 is -"),
    ],
)
def test_what_shows_that_nothing_was_learned(
    objective: Objective, outputs: torch.Tensor, targets: torch.Tensor, said: str
) -> None:
    found = verdict(objective, outputs, targets)
    assert said in found
    assert bool(found) == bool(said)

"""Batches of one step whose losses are divided by something of their own: together they are one large batch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reuse
from grouped import grouped
from reuse.data.rows import Batch, Resident
from reuse.nn.self_taught import SelfTaught
from reuse.objectives.masked_step import MaskedStep
from reuse.objectives.next_step import NextStep
from reuse.objectives.objective import Network, Objective, labels_of
from reuse.objectives.pseudo_labels import UNLABELLED, PseudoLabels
from reuse.objectives.sample_weights import weighted
from reuse.objectives.supervised import Classification
from reuse.training.trainer import Trainer

DRAW = torch.Generator().manual_seed(0)
ROWS = torch.randn(24, 5, generator=DRAW, dtype=torch.float64)
LABELS = torch.randint(3, (24,), generator=DRAW)
WEIGHTS = torch.rand(24, generator=DRAW, dtype=torch.float64) ** 4
TOKENS = torch.randint(1, 9, (24, 6), generator=DRAW)
TOKENS[:11, 2:] = 0  # many short sequences, which a batch has more of than the next
CLASS_WEIGHTS = (0.1, 1.0, 7.0)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def self_taught() -> nn.Module:
    torch.manual_seed(0)
    network = SelfTaught(nn.Sequential(nn.Linear(5, 8), nn.Tanh()), nn.Linear(8, 3)).double()
    network.weight.fill_(0.5)
    return network


def reader(objective: Objective) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        torch.manual_seed(0)
        data = reuse.load((TOKENS.numpy(), None), vocabulary=9)
        model = reuse.build("gru:5", data.input_shape, 2, num_tokens=9, embedding_size=4)
        return objective.build(model, data).double()

    return build


KNOWN_FIRST = torch.where(torch.arange(24) < 9, LABELS, UNLABELLED)
SHARES = torch.eye(3, dtype=torch.float64)[LABELS] * 0.7 + 0.1
CASES: dict[str, tuple[Objective, Callable[[], nn.Module], Tensor, Tensor | None]] = {
    "class weights": (Classification(3, class_weights=CLASS_WEIGHTS), linear, ROWS, LABELS),
    "class weights, shares": (Classification(3, class_weights=CLASS_WEIGHTS), linear, ROWS, SHARES),
    "weights of rows": (weighted(Classification(3)), linear, ROWS, torch.stack([LABELS, WEIGHTS], 1)),
    "both": (
        weighted(Classification(3, class_weights=CLASS_WEIGHTS)),
        linear,
        ROWS,
        torch.stack([LABELS, WEIGHTS], 1),
    ),
    "next step": (NextStep(), reader(NextStep()), TOKENS, None),
    "pseudo-labels": (PseudoLabels(confidence=0.4, begin=0.0, end=1.0), self_taught, ROWS, KNOWN_FIRST),
}


def batches(rows: Tensor, targets: Tensor | None, sizes: list[int]) -> list[Batch]:
    parts = [None] * len(sizes) if targets is None else targets.split(sizes)
    return [Batch((some,), own) for some, own in zip(rows.split(sizes), parts, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_batches_of_one_step_move_the_weights_as_one(name: str) -> None:
    objective, build, rows, targets = CASES[name]
    settings = grouped(optimizer="sgd", learning_rate=0.1, batch_size=24)
    losses, weights = [], []
    for sizes in ([24], [8, 13, 3], [1, 23]):
        model = build()
        losses.append(Trainer(model, objective, **settings).step(*batches(rows, targets, sizes)))
        weights.append(model.state_dict())
    for loss, state in zip(losses[1:], weights[1:], strict=True):
        torch.testing.assert_close(loss, losses[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(state, weights[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_what_losses_are_divided_by_adds_up(name: str) -> None:
    objective, build, rows, targets = CASES[name]
    network, whole = build(), Batch((rows,), targets)
    one = objective.divisors(whole)
    many = [objective.divisors(batch) for batch in batches(rows, targets, [5, 19])]
    sums = {key: sum(float(each[key]) for each in many) for key in one}
    assert {key: float(value) for key, value in one.items()} == pytest.approx(sums, rel=1e-6)
    assert one.keys() <= objective.losses(network, whole).keys()


@pytest.mark.parametrize("batch_size", [24, 7, 1])
def test_what_is_measured_does_not_depend_on_the_size_of_batches(batch_size: int) -> None:
    objective = NextStep()
    settings = grouped(batch_size=batch_size, learning_rate=0.1)
    found = Trainer(reader(objective)(), objective, **settings).evaluate(Resident(TOKENS), None)
    whole = objective.losses(reader(objective)(), Batch((TOKENS,)))["loss"]
    assert found["loss"] == pytest.approx(whole.item(), rel=1e-12)


def test_hidden_steps_are_counted_as_they_are_drawn() -> None:
    """Of rows that are padding alone none is."""
    objective, rows = MaskedStep(0.4), TOKENS.clone()
    rows[3:8] = 0
    _, _, drawn = reader(objective)()(rows)
    assert objective.divisors(Batch((rows,)))["loss"] == drawn.sum()


def test_a_batch_without_anything_to_divide_by_counts_nothing() -> None:
    """Rows that all weigh nothing, beside some that do."""
    targets = torch.stack([LABELS, torch.where(torch.arange(24) < 8, 0.0, WEIGHTS)], 1)
    objective, settings = weighted(Classification(3)), grouped(optimizer="sgd", learning_rate=0.1, batch_size=24)
    ours, theirs = linear(), linear()
    Trainer(ours, objective, **settings).step(*batches(ROWS, targets, [8, 16]))
    Trainer(theirs, objective, **settings).step(*batches(ROWS[8:], targets[8:], [16]))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-12, atol=1e-14)
    assert np.isfinite(ours[0].weight.detach().numpy()).all()  # type: ignore[union-attr]


class TwoShapes(Objective):
    """Two losses, of which one is a vector of one number, and one is divided by the sum of the targets."""

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        errors, weights = network(*batch.inputs).square().mean(1), labels_of(batch)
        return {"weighted": (errors * weights).sum() / weights.sum(), "plain": errors.mean().reshape(1)}

    def divisors(self, batch: Batch) -> dict[str, Tensor]:
        return {"weighted": labels_of(batch).sum()}


def test_losses_of_several_shapes_come_together() -> None:
    settings = grouped(optimizer="sgd", learning_rate=0.1, batch_size=24)
    ours, theirs = linear(), linear()
    first = Trainer(ours, TwoShapes(), **settings).step(*batches(ROWS, WEIGHTS, [8, 16]))
    second = Trainer(theirs, TwoShapes(), **settings).step(Batch((ROWS,), WEIGHTS))
    torch.testing.assert_close(first.reshape(()), second.reshape(()), rtol=1e-12, atol=0)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-12, atol=1e-14)
    found = Trainer(linear(), TwoShapes(), **settings).evaluate(Resident(ROWS), WEIGHTS)
    losses = TwoShapes().losses(linear(), Batch((ROWS,), WEIGHTS))
    assert found == pytest.approx(
        {name: loss.item() for name, loss in losses.items()} | {"loss": sum(loss.item() for loss in losses.values())}
    )


def test_a_tally_of_ones_own_has_the_form_it_had() -> None:
    class Counts(NextStep):
        def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
            return super().tally(network, batch) | {"seen": torch.tensor(3.0)}

    with torch.no_grad():
        tally = Counts().tally(reader(NextStep())(), Batch((TOKENS,)))
    assert tally["rows"] == len(TOKENS)
    assert Counts().metrics(tally)["seen"] == 3 / len(TOKENS)

"""Everything beside the plain step: equal to what a reader would write down."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from grouped import grouped
from reuse.data.rows import Batch, Resident
from reuse.errors import UsageError
from reuse.objectives.supervised import Classification
from reuse.optim.averaging import ExponentialAverage, StochasticWeightAverage
from reuse.optim.clipping import clip_by_norm
from reuse.optim.groups import OptimizerSettings
from reuse.optim.penalties import l1
from reuse.training.settings import LoopSettings
from reuse.training.step import StepParts
from reuse.training.trainer import Trainer

DRAW = torch.Generator().manual_seed(0)
ROWS = torch.randn(24, 5, generator=DRAW, dtype=torch.float64)
LABELS = torch.randint(3, (24,), generator=DRAW)


def network(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3)).double()


def trainer(model: nn.Module, **settings: Any) -> Trainer:
    return Trainer(
        model, Classification(3), **grouped(**{"optimizer": "sgd", "learning_rate": 0.1, "batch_size": 8, **settings})
    )


def same(first: nn.Module, second: nn.Module) -> None:
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=1e-12, atol=1e-14)


def parts_of(sizes: list[int]) -> list[Batch]:
    return [Batch((rows,), some) for rows, some in zip(ROWS.split(sizes), LABELS.split(sizes), strict=True)]


def test_several_batches_of_any_size_move_the_weights_as_one() -> None:
    apart, together = network(), network()
    penalty = StepParts(penalties=[l1(dict(apart.named_parameters()), {"0.weight": 0.01})])
    first = trainer(apart, parts=penalty).step(*parts_of([8, 13, 3]))
    penalty = StepParts(penalties=[l1(dict(together.named_parameters()), {"0.weight": 0.01})])
    second = trainer(together, parts=penalty).step(Batch((ROWS,), LABELS))
    torch.testing.assert_close(first, second)
    same(apart, together)


def test_an_epoch_of_accumulated_batches_is_one_of_large_ones() -> None:
    apart, together = network(), network()
    first = list(trainer(apart, batch_size=4, accumulate=3).epochs(Resident(ROWS), LABELS, epochs=2))
    second = list(trainer(together, batch_size=12).epochs(Resident(ROWS), LABELS, epochs=2))
    assert [e.train["loss"] for e in first] == pytest.approx([e.train["loss"] for e in second], rel=1e-12)
    same(apart, together)


def test_a_penalty_moves_the_weights_and_is_not_reported() -> None:
    ours, theirs = network(), network()
    parts = StepParts(penalties=[l1(dict(ours.named_parameters()), {"3.weight": 0.5})])
    loss = trainer(ours, parts=parts).step(Batch((ROWS,), LABELS))
    plain = functional.cross_entropy(theirs(ROWS), LABELS)
    (plain + 0.5 * theirs[3].weight.abs().sum()).backward()
    torch.testing.assert_close(loss, plain.detach())
    with torch.no_grad():
        for parameter in theirs.parameters():
            assert parameter.grad is not None
            parameter -= 0.1 * parameter.grad
    same(ours, theirs)


def test_a_sharpness_aware_step_takes_the_gradient_from_uphill() -> None:
    ours, theirs = network(), network()
    trainer(ours, parts=StepParts(sharpness=0.3)).step(Batch((ROWS,), LABELS))
    weights = list(theirs.parameters())
    first = torch.autograd.grad(functional.cross_entropy(theirs(ROWS), LABELS), weights)
    norm = torch.sqrt(sum((g.square().sum() for g in first), start=torch.zeros((), dtype=torch.float64)))
    with torch.no_grad():
        for weight, gradient in zip(weights, first, strict=True):
            weight += 0.3 * gradient / norm
    second = torch.autograd.grad(functional.cross_entropy(theirs(ROWS), LABELS), weights)
    with torch.no_grad():
        for weight, gradient, uphill in zip(weights, second, first, strict=True):
            weight -= 0.3 * uphill / norm + 0.1 * gradient
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-9, atol=1e-11)


def test_every_other_epoch_goes_without_regularisation() -> None:
    def trained(dropout: float, noise: float, alternate: bool, start: dict[str, Tensor] | None = None) -> nn.Module:
        model = network(dropout)
        parts = StepParts(transforms=[lambda batch: Batch((batch.inputs[0] + noise,), batch.targets)])
        ours = trainer(model, parts=parts, alternate=alternate)
        if start is not None:  # a second epoch alone
            model.load_state_dict(start)
            ours.epoch = 1
        list(ours.epochs(Resident(ROWS), LABELS, epochs=1 if start is None else 2))
        return model

    first = trained(0.5, 1.0, alternate=True)
    same(first, trained(0.5, 1.0, alternate=False))
    second = trained(0.5, 1.0, alternate=True, start=first.state_dict())
    same(second, trained(0.0, 0.0, alternate=False, start=first.state_dict()))


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_averages_are_what_is_measured_and_kept(kind: str) -> None:
    model, seen = network(), list[dict[str, Tensor]]()
    average = ExponentialAverage(0.8) if kind == "ema" else StochasticWeightAverage(2)
    ours = trainer(model, average=average, learning_rate=1.0)
    mean: dict[str, Tensor] = {}
    for epoch in ours.epochs(Resident(ROWS), LABELS, Resident(ROWS), LABELS, epochs=4):
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        kept = network()
        kept.load_state_dict(dict(ours.kept_tensors()))
        loss = functional.cross_entropy(kept(ROWS), LABELS)
        assert epoch.valid["loss"] == pytest.approx(loss.item(), rel=1e-12)
        if kind == "swa":
            counted = seen[1:] or seen
            mean = {name: sum(s[name] for s in counted) / len(counted) for name in seen[0]}  # type: ignore[misc]
            torch.testing.assert_close(dict(kept.state_dict()), mean)
    assert not torch.equal(kept[0].weight, model[0].weight)


def test_the_average_of_epochs_has_batch_norm_statistics_of_its_own() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).double()
    ours = trainer(model, average=StochasticWeightAverage(1), learning_rate=1.0)
    list(ours.epochs(Resident(ROWS), LABELS, Resident(ROWS), LABELS, epochs=3))
    kept = ours.kept_tensors()
    entered = functional.linear(ROWS, kept["0.weight"], kept["0.bias"])
    torch.testing.assert_close(kept["1.running_mean"], entered.mean(0).detach())
    torch.testing.assert_close(kept["1.running_var"], entered.var(0).detach())
    assert not torch.allclose(model[1].running_mean, kept["1.running_mean"])


def test_a_switch_of_optimizer_trains_as_two_trainings_one_after_the_other() -> None:
    whole, two = network(), network()
    switched = trainer(whole, optimizer="adam", switches={3: OptimizerSettings("momentum", 0.01)})
    rates = [epoch.learning_rate for epoch in switched.epochs(Resident(ROWS), LABELS, epochs=4)]
    assert rates == [0.1, 0.1, 0.01, 0.01]
    list(trainer(two, optimizer="adam").epochs(Resident(ROWS), LABELS, epochs=2))
    after = trainer(two, optimizer="momentum", learning_rate=0.01)
    after.epoch = 2
    list(after.epochs(Resident(ROWS), LABELS, epochs=4))
    same(whole, two)


def test_training_rows_are_measured_without_dropout_where_it_is_wanted() -> None:
    model = network(dropout=0.5)
    (epoch,) = trainer(model, train_metrics=True, learning_rate=1e-12).epochs(Resident(ROWS), LABELS, epochs=1)
    model.eval()
    assert epoch.train["eval_loss"] == pytest.approx(functional.cross_entropy(model(ROWS), LABELS).item())
    assert epoch.train["eval_loss"] != epoch.train["loss"]
    assert set(epoch.train) == {"loss", "eval_loss", "eval_accuracy", "eval_macro_f1"}


@pytest.mark.parametrize(
    "parts",
    [StepParts(), StepParts(clipping=[clip_by_norm(0.1)]), StepParts(sharpness=0.3)],
    ids=["plain", "clipped", "sharpness"],
)
def test_scaling_the_loss_changes_no_step(parts: StepParts) -> None:
    """What float16 needs: by a power of 2 and back, gradients are what they were."""
    plain, scaled = network(), network()
    trainer(plain, parts=parts).step(Batch((ROWS,), LABELS))
    ours = trainer(scaled, parts=parts)
    ours._step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    ours.step(Batch((ROWS,), LABELS))
    torch.testing.assert_close(plain.state_dict(), scaled.state_dict(), rtol=1e-12, atol=1e-14)


def test_a_loss_that_is_no_scalar_is_refused_before_anything_moves() -> None:
    class EachRow(Classification):
        def losses(self, network: Any, batch: Batch) -> dict[str, Tensor]:
            return {"loss": functional.cross_entropy(network(*batch.inputs), batch.targets, reduction="none")}

    model, untouched = network(), network()
    with pytest.raises(UsageError, match=r"come to shape \(8,\): return scalars"):
        Trainer(model, EachRow(3), optimization=OptimizerSettings("sgd"), loop=LoopSettings(batch_size=8)).step(
            Batch((ROWS[:8],), LABELS[:8])
        )
    same(model, untouched)


def test_steps_of_losses_of_other_shapes_and_types_take_the_gradients_of_backward() -> None:
    class Shaped(Classification):
        def losses(self, network: Any, batch: Batch) -> dict[str, Tensor]:
            return {"loss": super().losses(network, batch)["loss"].reshape(shapes[len(batch.inputs[0])])}

    shapes: dict[int, tuple[int, ...]] = {8: (), 4: (1,)}
    model, by_hand = network(), network()
    trained = Trainer(model, Shaped(3), optimization=OptimizerSettings("sgd", 0.1))
    for rows in (8, 4, 8):
        trained.step(Batch((ROWS[:rows],), LABELS[:rows]))
        loss = functional.cross_entropy(by_hand(ROWS[:rows]), LABELS[:rows])
        by_hand.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in by_hand.parameters():
                parameter -= 0.1 * parameter.grad
    same(model, by_hand)

"""The trainer against a loop written by hand, and what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from grouped import grouped
from reuse.data.rows import Batch, Resident
from reuse.errors import DataError, ReuseError, UsageError
from reuse.layers.freezing import freeze
from reuse.objectives.autoencoder import Reconstruction
from reuse.objectives.supervised import Classification, Regression
from reuse.optim.clipping import clip_by_norm
from reuse.optim.groups import OptimizerSettings
from reuse.optim.optimization import Optimization
from reuse.training.batches import batch_sizes, row_order
from reuse.training.settings import LoopSettings
from reuse.training.step import StepParts
from reuse.training.trainer import Trainer

CPU = torch.device("cpu")
DRAW = torch.Generator().manual_seed(0)
ROWS = torch.randn(65, 6, generator=DRAW, dtype=torch.float64)
LABELS = torch.randint(3, (65,), generator=DRAW)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).double()


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def by_hand(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    *,
    clip_norm: float | None = None,
    rate: Callable[[int], float] | None = None,
) -> list[float]:
    """Train as a reader would write it down; return the loss of each epoch."""
    losses, step = [], 0
    for epoch in range(1, epochs + 1):
        total = 0.0
        for rows in row_order(65, seed=5, epoch=epoch, shuffle=True, device=CPU).split(batch_sizes(65, 16)):
            if rate is not None:
                optimizer.param_groups[0]["lr"] = rate(step)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(ROWS[rows]), LABELS[rows])
            loss.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            total += loss.item() * len(rows) / 65
            step += 1
        losses.append(total)
    return losses


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({"optimizer": "sgd"}, lambda p: torch.optim.SGD(p, lr=0.1)),
        (
            {"optimizer": OptimizerSettings("momentum", 0.1, 0.8, weight_decay=0.01, decay_all=True)},
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, weight_decay=0.01),
        ),
        ({"optimizer": "adam"}, lambda p: torch.optim.Adam(p, lr=0.1)),
    ],
)
@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_training_is_the_loop_written_by_hand(
    settings: dict[str, Any], reference: Callable[..., Any], clip_norm: float | None
) -> None:
    ours, theirs = network(), network()
    parts = StepParts(clipping=[clip_by_norm(clip_norm)] if clip_norm else [])
    trainer = Trainer(
        ours, Classification(3), parts=parts, **grouped(learning_rate=0.1, batch_size=16, seed=5, **settings)
    )
    epochs = list(trainer.epochs(Resident(ROWS), LABELS, epochs=3))
    losses = by_hand(theirs, reference(theirs.parameters()), 3, clip_norm=clip_norm)
    assert [epoch.train["loss"] for epoch in epochs] == pytest.approx(losses, rel=1e-12)
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    torch.testing.assert_close(weights(ours), weights(theirs))


def test_schedule_multiplies_the_rate_of_each_step() -> None:
    ours, theirs = network(), network()
    trainer = Trainer(
        ours,
        Classification(3),
        optimization=Optimization(OptimizerSettings("sgd", 0.2), schedule="linear", warmup=0.5),
        loop=LoopSettings(batch_size=16, seed=5),
    )
    epochs = list(trainer.epochs(Resident(ROWS), LABELS, epochs=3))

    def rate(step: int) -> float:  # four steps an epoch, the last of 17 rows
        return 0.2 * (step + 1) / 2 if step < 2 else 0.2 * (1 - (step - 2) / 10)

    by_hand(theirs, torch.optim.SGD(theirs.parameters(), lr=0.2), 3, rate=rate)
    torch.testing.assert_close(weights(ours), weights(theirs))
    assert [epoch.learning_rate for epoch in epochs] == pytest.approx([rate(3), rate(7), rate(11)])


def test_frozen_tensors_stay_bit_for_bit() -> None:
    model = network()
    before = weights(model)
    freeze(model, "0,1")
    settings = {"optimizer": "momentum", "learning_rate": 0.1, "weight_decay": 0.5, "batch_size": 16}
    for _ in Trainer(model, Classification(3), **grouped(**settings)).epochs(
        Resident(ROWS), LABELS, Resident(ROWS), LABELS, epochs=3
    ):
        pass
    after = weights(model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"3.weight", "3.bias"}


def test_a_layer_frozen_in_mid_training_keeps_still_despite_its_momentum() -> None:
    model = network()
    settings = {"optimizer": "momentum", "learning_rate": 0.1, "batch_size": 16}
    first = Trainer(model, Classification(3), **grouped(**settings))
    for _ in first.epochs(Resident(ROWS), LABELS, epochs=2):
        pass
    freeze(model, "0,1")
    before = weights(model)
    second = Trainer(model, Classification(3), **grouped(**settings))
    assert second.load_state_dict(first.state_dict()) == []
    for _ in second.epochs(Resident(ROWS), LABELS, epochs=4):
        pass
    assert {name for name in before if not torch.equal(before[name], weights(model)[name])} == {"3.weight", "3.bias"}


def test_a_suffix_trains_the_model_as_the_whole_does() -> None:
    whole, cut = network(), network()
    for model in (whole, cut):
        freeze(model, "0,1")
    settings = {"learning_rate": 0.05, "batch_size": 16, "optimizer": "adam"}
    frontier = Resident(cut[:3].eval()(ROWS).detach())
    first = list(Trainer(whole, Classification(3), **grouped(**settings)).epochs(Resident(ROWS), LABELS, epochs=3))
    second = list(
        Trainer(cut, Classification(3), network=cut[3], **grouped(**settings)).epochs(frontier, LABELS, epochs=3)
    )
    assert [epoch.train["loss"] for epoch in first] == pytest.approx([epoch.train["loss"] for epoch in second])
    torch.testing.assert_close(weights(cut), weights(whole))


def test_validation_is_measured_after_each_epoch_and_training_mode_comes_back() -> None:
    model = network()
    trainer = Trainer(model, Classification(3), loop=LoopSettings(batch_size=16))
    for epoch in trainer.epochs(Resident(ROWS), LABELS, Resident(ROWS[:20]), LABELS[:20], epochs=2):
        assert model.training
        assert epoch.valid == trainer.evaluate(Resident(ROWS[:20]), LABELS[:20])
    assert not list(trainer.epochs(Resident(ROWS), LABELS, epochs=2)), "epochs counts from the first, not anew"


def test_one_loop_trains_an_autoencoder() -> None:
    trainer = Trainer(
        nn.Linear(6, 6).double(),
        Reconstruction(),
        optimization=OptimizerSettings("adam", 0.05),
        loop=LoopSettings(batch_size=16),
    )
    losses = [epoch.train["loss"] for epoch in trainer.epochs(Resident(ROWS), None, epochs=30)]
    assert losses[-1] < losses[0] / 10


def test_losses_are_minimised_together_and_constraints_run_after_each_step() -> None:
    class TwoLosses(Regression):
        def losses(self, network: Callable[..., Tensor], batch: Batch) -> dict[str, Tensor]:
            outputs = network(*batch.inputs)
            return {"up": -outputs.mean(), "down": 3 * outputs.mean(), "same": 0 * outputs.mean()}

    model = nn.Linear(6, 1, bias=False)
    nn.init.zeros_(model.weight)
    parts = StepParts(constraints=[lambda m: m.weight.add_(7)])
    trainer = Trainer(model, TwoLosses(), optimization=OptimizerSettings("sgd", 1.0), parts=parts)
    rows = torch.randn(8, 6)
    loss = trainer.step(Batch((rows,)))
    assert loss.item() == 0
    torch.testing.assert_close(model.weight.detach(), 7 - 2 * rows.mean(0, keepdim=True))


def test_seeds_differ_and_the_same_seed_repeats() -> None:
    def trained(seed: int) -> Tensor:
        model = network()
        for _ in Trainer(model, Classification(3), loop=LoopSettings(batch_size=16, seed=seed)).epochs(
            Resident(ROWS), LABELS, epochs=1
        ):
            pass
        return weights(model)["3.weight"]

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_a_last_batch_of_one_row_does_not_break_batch_norm() -> None:
    trainer = Trainer(network(), Classification(3), loop=LoopSettings(batch_size=32))  # 65 rows: 32, 33
    assert [epoch.number for epoch in trainer.epochs(Resident(ROWS), LABELS, epochs=1)] == [1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_epoch_and_step(bad: float) -> None:
    class Failing(Classification):
        def losses(self, network: Callable[..., Tensor], batch: Batch) -> dict[str, Tensor]:
            return {"loss": super().losses(network, batch)["loss"] * next(factors)}

    factors = iter([1.0] * 6 + [bad] + [1.0] * 20)
    trainer = Trainer(network(), Failing(3), loop=LoopSettings(batch_size=16))
    with pytest.raises(ReuseError, match=r"epoch 2, step 3 of 4.*learning rate"):
        list(trainer.epochs(Resident(ROWS), LABELS, epochs=3))


def test_a_trainable_tensor_without_gradient_is_named() -> None:
    model = nn.ModuleDict({"used": nn.Linear(6, 3), "unused": nn.Linear(6, 3)}).double()
    settings: dict[str, Any] = {"network": model["used"], "batch_size": 16}
    with pytest.raises(ReuseError, match=r"unused\.weight, unused\.bias.*freeze"):
        list(Trainer(model, Classification(3), **grouped(**settings)).epochs(Resident(ROWS), LABELS, epochs=1))
    model["unused"].requires_grad_(False)
    assert list(Trainer(model, Classification(3), **grouped(**settings)).epochs(Resident(ROWS), LABELS, epochs=1))


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0},
        {"accumulate": 0},
        {"compile": "perhaps"},
        {"warmup": -1.0},
        {"schedule": "cosin"},
        {"optimizer": "adan_"},
        {"precision": "float8"},
        {"precision": "tf32"},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Trainer(network(), Classification(3), **grouped(**settings))


def test_rows_and_targets_must_agree() -> None:
    with pytest.raises(DataError, match="65 rows and 64 targets"):
        Trainer(network(), Classification(3)).epochs(Resident(ROWS), LABELS[:-1], epochs=1)


def test_precisions() -> None:
    with pytest.raises(UsageError, match=r"0\.weight is float32"):
        Trainer(network().float(), Classification(3), loop=LoopSettings(precision="float64"))
    exact, rough = network().float(), network().float()
    for model, precision in ((exact, "float32"), (rough, "bfloat16")):
        trainer = Trainer(model, Classification(3), loop=LoopSettings(batch_size=16, precision=precision))
        assert len(list(trainer.epochs(Resident(ROWS.float()), LABELS, epochs=2))) == 2
    difference = (exact[3].weight - rough[3].weight).abs().max().item()
    assert rough[3].weight.dtype == torch.float32
    assert 0 < difference < 0.01

"""Adversaries: two optimizers written by hand, one for each player, give the same weights."""

import copy
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Optimizer

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.adversaries import Adversaries
from reuse.objectives.gan import Adversarial

ROWS = torch.randn(5, 16, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def built(objective: Adversarial) -> Adversaries:
    torch.manual_seed(0)
    data = reuse.load((np.zeros((20, 6), np.float32), None))
    trained = objective.build(reuse.build("mlp:10,8", (6,), 3, norm="layer"), data).double()
    assert isinstance(trained, Adversaries)
    return trained


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": lambda parameters, lr: torch.optim.AdamW(parameters, lr=lr, weight_decay=0.1),
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
    "nadam": torch.optim.NAdam,
}


def squared_slopes(network: Adversaries, rows: torch.Tensor) -> torch.Tensor:
    """Return the mean over rows of the squared slope of the logit, one row and one derivative at a time."""
    total = torch.zeros((), dtype=rows.dtype)
    for row in rows:
        slopes = torch.autograd.functional.jacobian(lambda x: network(x[None])[0], row, create_graph=True)
        for slope in slopes:
            total = total + slope * slope
    return total / len(rows)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("rounds", "rate", "penalty"), [(1, 1.0, 0.0), (2, 0.5, 0.0), (1, 0.5, 3.0)])
def test_turns_are_two_optimizers_written_by_hand(name: str, rounds: int, rate: float, penalty: float) -> None:
    objective = Adversarial(size=4, rounds=rounds, generator_rate=rate, penalty=penalty)
    ours, theirs = built(objective), built(objective)
    settings = reuse.OptimizerSettings(name, 0.01, weight_decay=0.1 if name == "adamw" else 0.0, decay_all=True)
    trainer = reuse.Trainer(ours, objective, optimization=settings)
    torch.manual_seed(3)
    losses = [float(trainer.step(Batch((rows,)))) for rows in ROWS]

    judges = [*theirs.encoder.parameters(), *theirs.judge.parameters()]
    discriminator = OPTIMIZERS[name](judges, lr=0.01)
    generator = OPTIMIZERS[name](theirs.generator.parameters(), lr=0.01 * rate)
    torch.manual_seed(3)
    expected, one, zero = [], torch.ones(16, dtype=torch.float64), torch.zeros(16, dtype=torch.float64)
    for rows in ROWS:
        total = 0.0
        for _ in range(rounds):
            discriminator.zero_grad()
            noise = torch.randn(16, 4, dtype=torch.float64)
            invented = theirs.generator(noise).detach()
            loss = binary_cross_entropy_with_logits(theirs(rows), one)
            loss = loss + binary_cross_entropy_with_logits(theirs(invented), zero)
            loss = loss + penalty / 2 * squared_slopes(theirs, rows)
            loss.backward()  # type: ignore[no-untyped-call]
            discriminator.step()
            total += loss.item() / rounds
        generator.zero_grad()
        loss = binary_cross_entropy_with_logits(theirs(theirs.generator(torch.randn(16, 4, dtype=torch.float64))), one)
        loss.backward()  # type: ignore[no-untyped-call]
        generator.step()
        expected.append(total + loss.item())
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-9, atol=1e-11)
    assert losses == pytest.approx(expected, rel=1e-9)


def test_each_turn_moves_its_own_player() -> None:
    objective = Adversarial(size=4)
    trained = built(objective)
    trainer = reuse.Trainer(trained, objective)
    judging, generating = trainer._step.turns
    assert {name.partition(".")[0] for name, _ in judging.named_parameters} == {"encoder", "judge"}
    assert {name.partition(".")[0] for name, _ in generating.named_parameters} == {"generator"}
    trainer.step(Batch((ROWS[0],)))
    assert {name.partition(".")[0] for name, p in trained.named_parameters() if p.grad is not None} == {"generator"}


@pytest.mark.parametrize("objective", [Adversarial(size=4), Adversarial(size=4, spectral=True)])
def test_a_turn_changes_its_own_players_weights_alone(objective: Adversarial) -> None:
    """Bit by bit before and after each turn, with a rate that moves whatever has a gradient."""
    trained = built(objective)
    trainer = reuse.Trainer(trained, objective, optimization=reuse.OptimizerSettings("adam", 0.1))
    seen = [{name: p.detach().clone() for name, p in trained.named_parameters()}]
    trainer._step.objective = noting(objective, lambda: seen.append(copied(trained)))
    trainer.step(Batch((ROWS[0],)))
    assert len(seen) == 3
    for players, before, after in zip(({"encoder", "judge"}, {"generator"}), seen, seen[1:], strict=False):
        moved = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert moved == players


def copied(trained: Adversaries) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trained.named_parameters()}


def noting(objective: Adversarial, note: Callable[[], None]) -> Adversarial:
    """Return the objective with a note taken after each turn."""

    class Noting(Adversarial):
        def after_step(self, trained: Any, progress: float) -> None:
            super().after_step(trained, progress)
            note()

    return Noting(**{field.name: getattr(objective, field.name) for field in fields(objective)})


def test_a_generator_learns_a_distribution() -> None:
    """Rows around (3, -2): what is invented comes to lie there, and swings around them."""
    rows = torch.randn(512, 2, generator=torch.Generator().manual_seed(0)) * 0.3 + torch.tensor([3.0, -2.0])
    objective = Adversarial(size=4)
    torch.manual_seed(0)
    data = reuse.load((np.zeros((20, 2), np.float32), None))
    trained = objective.build(reuse.build("mlp:32,32", (2,), 2, activation="leaky_relu"), data)
    assert isinstance(trained, Adversaries)
    far = trained.invent(rows).mean(0).detach()
    adam = reuse.OptimizerSettings("adam", 1e-3)
    trainer = reuse.Trainer(trained, objective, optimization=adam)
    middles = [trained.invent(rows).mean(0).detach() for _ in trainer.epochs(rows, None, epochs=60)]
    near, middle = torch.stack(middles[-20:]).mean(0), rows.mean(0)
    assert (near - middle).norm() < 0.4 < (far - middle).norm()


@pytest.mark.parametrize("model", ["mlp:20,12", "convnet:4,6", "timm:test_resnet"])
def test_any_encoder_discriminates_and_lends_its_layers(model: str) -> None:
    images = np.random.default_rng(0).random((24, 3, 32, 32), dtype=np.float32)
    result = reuse.pretrain("gan", data=(images, None), model=model, epochs=2, batch_size=8, out="run")
    assert set(result.metrics["test"]) == {"discriminator", "generator", "loss"}
    assert result.best_epoch == 2, "the last weights are kept"
    assert reuse.finetune("run", data=(images, np.arange(24) % 2), epochs=1, cache=False).restored


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sharpness": 0.05}, "sharpness-aware step goes uphill by one loss, and Adversarial has turns"),
        ({"optimizer": "lamb"}, "torch's own optimizers keep apart"),
        ({"switch_optimizer": "1:lookahead_adam:0.01"}, "torch's own optimizers keep apart"),
        ({"noise": 0.1}, "noise is for autoencoders, and the objective is gan"),
        ({"mixup": 0.2}, "gan uses no labels, and mixup"),
    ],
)
def test_what_does_not_go_with_turns_is_refused_before_anything_is_written(
    settings: Any, message: str, tmp_path: Any
) -> None:
    with pytest.raises(UsageError, match=message):
        reuse.pretrain("gan", data="digits", model="mlp:8", epochs=2, out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_turns_are_not_compiled_and_it_is_said_once() -> None:
    objective = Adversarial(size=4)
    trainer = reuse.Trainer(built(objective), objective, loop=reuse.LoopSettings(compile=True))
    epochs = list(trainer.epochs(ROWS.flatten(0, 1), None, epochs=2))
    assert [epoch.notes for epoch in epochs] == [("steps are not compiled: several turns make a step",), ()]


def test_scaling_the_losses_changes_no_turn() -> None:
    """What float16 needs: by a power of 2 and back, gradients are what they were."""
    objective = Adversarial(size=4)
    plain, scaled = built(objective), built(objective)
    for model, scaler in ((plain, None), (scaled, torch.amp.GradScaler("cpu", init_scale=2.0**10))):
        trainer = reuse.Trainer(model, objective)
        trainer._step.scaler = scaler
        torch.manual_seed(1)
        for rows in ROWS:
            trainer.step(Batch((rows,)))
    torch.testing.assert_close(plain.state_dict(), scaled.state_dict(), rtol=1e-9, atol=1e-11)


def test_the_discriminator_cannot_grow_steep_where_its_weights_are_held() -> None:
    objective = Adversarial(size=4, penalty=0.0, spectral=True)
    trained = built(objective)
    trainer = reuse.Trainer(trained, objective, optimization=reuse.OptimizerSettings("adam", 0.05))
    for _ in range(8):
        for rows in ROWS:
            trainer.step(Batch((rows,)))
    largest = {
        name: torch.linalg.matrix_norm(p.flatten(1), 2).item()
        for name, p in trained.named_parameters()
        if not name.startswith("generator") and p.dim() > 1
    }
    assert len(largest) == 3
    assert all(0.5 < value < 1.1 for value in largest.values()), largest
    assert "bound.left0" in trained.state_dict(), "a training that is resumed goes on from the same vectors"


def test_batch_norms_are_evaluated_with_statistics_of_real_rows() -> None:
    objective = Adversarial(size=4)
    torch.manual_seed(0)
    data = reuse.load((ROWS.flatten(0, 1).numpy().astype(np.float32), None))
    trained = objective.build(reuse.build("mlp:10", (6,), 3, norm="batch"), data).double()
    assert isinstance(trained, Adversaries)
    alone = copy.deepcopy(trained.encoder)
    objective.discriminate(trained, Batch((ROWS[0],)))
    objective.generate(trained, Batch((ROWS[0],)))
    alone(ROWS[0])
    torch.testing.assert_close(dict(trained.encoder.named_buffers()), dict(alone.named_buffers()))


@pytest.mark.parametrize(("model", "shape"), [("convnet:4", (1, 9, 13)), ("timm:test_resnet", (3, 32, 32))])
def test_images_are_invented_by_transposed_convolutions_within_the_range_of_the_data(
    model: str, shape: tuple[int, ...]
) -> None:
    data = reuse.load((2 + 3 * np.random.default_rng(0).random((40, *shape), dtype=np.float32), None))
    rows = data.train.inputs.resident()
    assert rows is not None
    trained = Adversarial().build(reuse.build(model, shape, 3), data)
    assert isinstance(trained, Adversaries)
    kinds = [type(module) for module in trained.generator.modules()]
    assert kinds.count(torch.nn.ConvTranspose2d) >= 1
    assert torch.nn.BatchNorm2d in kinds
    invented = trained.invent(torch.zeros(7, *shape))
    assert invented.shape == (7, *shape)
    assert rows.min() <= invented.min() < invented.max() <= rows.max()


@pytest.mark.parametrize(
    ("settings", "message"), [({"penalty": -1.0}, "penalty is -1"), ({"rounds": 0}, "taken 0 times")]
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Adversarial(**settings)

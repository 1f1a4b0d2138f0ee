"""Adversaries: two optimizers written by hand, one for each player, give the same weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Optimizer

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.gan import Adversarial, Adversaries

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


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("rounds", "rate"), [(1, 1.0), (2, 0.5)])
def test_turns_are_two_optimizers_written_by_hand(name: str, rounds: int, rate: float) -> None:
    objective = Adversarial(size=4, rounds=rounds, generator_rate=rate)
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


def test_a_generator_learns_a_distribution() -> None:
    """Rows around (3, -2): what is invented comes to lie there."""
    rows = torch.randn(512, 2, generator=torch.Generator().manual_seed(0)) * 0.3 + torch.tensor([3.0, -2.0])
    objective = Adversarial(size=4)
    torch.manual_seed(0)
    data = reuse.load((np.zeros((20, 2), np.float32), None))
    trained = objective.build(reuse.build("mlp:32,32", (2,), 2, activation="leaky_relu"), data)
    assert isinstance(trained, Adversaries)
    far = trained.invent(rows).mean(0).detach()
    adam = reuse.OptimizerSettings("adam", 1e-3)
    list(reuse.Trainer(trained, objective, optimization=adam).epochs(rows, None, epochs=40))
    near = trained.invent(rows).mean(0).detach()
    middle = rows.mean(0)
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

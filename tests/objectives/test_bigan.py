"""Bidirectional adversaries: both losses by hand, players that move alone, an encoder that undoes the generator."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.adversaries import BidirectionalAdversaries
from reuse.objectives.bigan import Bidirectional

ROWS = torch.randn(16, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def built(objective: Bidirectional, rows: torch.Tensor = ROWS, model: str = "mlp:10,8") -> BidirectionalAdversaries:
    torch.manual_seed(0)
    data = reuse.load((rows.float().numpy(), None))
    trained = objective.build(reuse.build(model, tuple(rows.shape[1:]), 3), data).double()
    assert isinstance(trained, BidirectionalAdversaries)
    return trained


def test_the_losses_are_those_of_pairs_written_by_hand() -> None:
    objective = Bidirectional(size=4, penalty=2.0)
    network = built(objective)
    torch.manual_seed(1)
    judged = objective.discriminate(network, Batch((ROWS,)))
    torch.manual_seed(1)
    deceived = objective.deceive(network, Batch((ROWS,)))
    torch.manual_seed(1)
    z = torch.randn(16, 4, dtype=torch.float64)
    judge = players = slopes = 0.0
    for row in range(16):
        x = ROWS[row : row + 1]
        code = network.code(network.encoder(x)).detach()

        def logit(rows: torch.Tensor, code: torch.Tensor = code) -> torch.Tensor:
            answer: torch.Tensor = network.judge(rows, code)[0]
            return answer

        slopes += (torch.autograd.functional.jacobian(logit, x) ** 2).sum().item()
        real = 1 / (1 + math.exp(-logit(x).item()))
        made = network.generator(z[row : row + 1])
        fake = 1 / (1 + math.exp(-network.judge(made, z[row : row + 1]).item()))
        judge -= math.log(real) + math.log(1 - fake)
        players -= math.log(1 - real) + math.log(fake)
    assert judged["judge"].item() == pytest.approx(judge / 16, rel=1e-9)
    assert judged["penalty"].item() == pytest.approx(slopes / 16, rel=1e-9)
    assert deceived["players"].item() == pytest.approx(players / 16, rel=1e-9)


def test_each_turn_moves_its_own_players_alone() -> None:
    objective = Bidirectional(size=4)
    trainer = reuse.Trainer(built(objective), objective)
    judging, deceiving = trainer._step.turns
    assert {name.partition(".")[0] for name, _ in judging.named_parameters} == {"judge"}
    assert {name.partition(".")[0] for name, _ in deceiving.named_parameters} == {"encoder", "code", "generator"}


def test_the_encoder_comes_to_undo_the_generator() -> None:
    """Of rows on a line, numbers that a row is made from are found again by encoding it, up to what z says twice."""
    torch.manual_seed(0)
    places = torch.randn(512, 1)
    rows = torch.cat([places, -places, 0.5 * places], 1)
    objective = Bidirectional(size=1)
    trained = objective.build(reuse.build("mlp:32,32", (3,), 2), reuse.load((rows.numpy(), None)))
    assert isinstance(trained, BidirectionalAdversaries)

    def agreement() -> float:
        with torch.no_grad():
            z = torch.randn(500, 1)
            code = trained.code(trained.encoder(trained.generator(z)))
        return float(torch.corrcoef(torch.cat([z, code], 1).T)[0, 1])

    adam = reuse.OptimizerSettings("adam", 1e-3)
    list(reuse.Trainer(trained, objective, optimization=adam).epochs(rows, None, epochs=60))
    assert agreement() > 0.9


@pytest.mark.parametrize("model", ["mlp:20,12", "convnet:4,6", "timm:test_resnet", "timm:test_vit"])
def test_any_encoder_learns_and_lends_its_layers(model: str) -> None:
    images = np.random.default_rng(0).random((24, 3, 32, 32), dtype=np.float32)
    result = reuse.pretrain("bigan", data=(images, None), model=model, epochs=2, batch_size=8, out="run")
    assert set(result.metrics["test"]) == {"judge", "players", "loss"}
    assert reuse.finetune("run", data=(images, np.arange(24) % 2), epochs=1, cache=False).restored


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"penalty": -1.0}, "penalty is -1"), ({"hidden": 0}, "0 hidden units"), ({"player_rate": 0.0}, "rate 0")],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Bidirectional(**settings)

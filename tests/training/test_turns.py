"""Turns of a step: who is moved, at what rate, and what does not go together."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from grouped import grouped
from reuse.data.rows import Batch
from reuse.errors import ReuseError, UsageError
from reuse.objectives.objective import Objective, Turn
from reuse.optim.clipping import clip_by_norm
from reuse.optim.groups import OptimizerSettings
from reuse.training.step import StepParts
from reuse.training.trainer import Trainer

ROWS = torch.randn(24, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Players(Objective):
    """Two players of which each pulls the outputs its own way, in any turns."""

    def __init__(self, *turns: tuple[Sequence[str], dict[str, Any]]) -> None:
        self.chosen = turns

    def up(self, network: Callable[..., Tensor], batch: Batch) -> dict[str, Tensor]:
        return {"up": (network(batch.inputs[0]) - 3).square().mean()}

    def down(self, network: Callable[..., Tensor], batch: Batch) -> dict[str, Tensor]:
        return {"down": (network(batch.inputs[0]) + 3).square().mean()}

    def turns(self) -> tuple[Turn, ...]:
        losses = (self.up, self.down, self.up)
        return tuple([Turn(loss, tuple(m), **kw) for loss, (m, kw) in zip(losses, self.chosen, strict=False)])


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("below", nn.Linear(4, 5))
    model.add_module("between", nn.Tanh())
    model.add_module("above", nn.Linear(5, 2))
    return model.double()


BOTH = ((["above"], {}), (["below"], {}))


def test_a_step_of_several_batches_moves_each_player_as_one_large_batch() -> None:
    apart, together = network(), network()
    first = Trainer(apart, Players(*BOTH), **grouped("momentum", learning_rate=0.1))
    second = Trainer(together, Players(*BOTH), **grouped("momentum", learning_rate=0.1))
    for _ in range(3):
        loss = first.step(*[Batch((rows,)) for rows in ROWS.split([10, 14])])
        torch.testing.assert_close(loss, second.step(Batch((ROWS,))))
    torch.testing.assert_close(apart.state_dict(), together.state_dict(), rtol=1e-12, atol=1e-14)


def test_clipping_bounds_each_turn_by_itself_and_constraints_follow_each() -> None:
    model, seen = network(), list[float]()
    calls: list[int] = []

    def noting(parameters: Sequence[nn.Parameter]) -> None:
        assert all(p.grad is not None for p in parameters)
        seen.append(float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])))

    parts = StepParts(clipping=[clip_by_norm(0.01), noting], constraints=[lambda _: calls.append(1)])
    Trainer(model, Players(*BOTH), parts=parts, **grouped("sgd")).step(Batch((ROWS,)))
    assert seen == pytest.approx([0.01, 0.01], rel=1e-4)
    assert len(calls) == 2


def test_a_player_that_has_no_turn_yet_keeps_momentum_and_decay_still() -> None:
    """After many turns of one player the other begins as if nothing had been."""
    model = network()
    settings = grouped("adamw", learning_rate=0.05, weight_decay=0.5, decay_all=True)
    trainer = Trainer(model, Players((["above"], {"times": 7}), (["below"], {})), **settings)
    before = model.get_parameter("below.weight").detach().clone()
    trainer.step(Batch((ROWS,)))
    step = {name: entry["step"].item() for name, entry in trainer.state_dict()["optimizer"].items()}
    assert step == {"below.weight": 1, "below.bias": 1, "above.weight": 7, "above.bias": 7}
    moved = (model.get_parameter("below.weight") - before * (1 - 0.05 * 0.5)).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.05), rtol=1e-3, atol=0)  # Adam's first step is the rate


def test_rates_of_turns_multiply_those_of_layers_and_one_group_has_each() -> None:
    settings = OptimizerSettings("sgd", 0.1, rates={"below.weight": 0.5})
    trainer = Trainer(network(), Players((["above"], {}), (["below"], {"rate": 4.0})), optimization=settings)
    rates = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in trainer.parameters}
    assert found == pytest.approx({"below.weight": 0.2, "below.bias": 0.4, "above.weight": 0.1, "above.bias": 0.1})


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([(["above"], {})], "no turn of Players moves below: name it in a turn's `moves`, or freeze it"),
        ([], "no turn of Players moves below, above"),
        ([(["abovex"], {}), (["below"], {})], "above"),
        ([([], {}), (["below"], {"rate": 2.0})], r"two turns move below\.weight, at rates 1\.0 and 2\.0"),
        ([(["above"], {"times": 0}), (["below"], {})], "taken 0 times"),
        ([(["above"], {"rate": 0.0}), (["below"], {})], r"rate 0\.0"),
    ],
)
def test_turns_that_cannot_be_are_refused(turns: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Trainer(network(), Players(*turns))


def test_a_frozen_player_needs_no_turn() -> None:
    model = network()
    model.get_submodule("below").requires_grad_(False)
    Trainer(model, Players((["above"], {}))).step(Batch((ROWS,)))
    with pytest.raises(UsageError, match="below"):
        Trainer(model, Players(*BOTH))


def test_a_parameter_that_its_own_turn_does_not_reach_is_named() -> None:
    class Unreached(Players):
        def down(self, network: Any, batch: Batch) -> dict[str, Tensor]:
            return {"down": network.above(torch.ones(3, 5, dtype=torch.float64)).mean()}

    trainer = Trainer(network(), Unreached((["above"], {}), ([], {})))
    with pytest.raises(ReuseError, match=r"no gradient reached below\.weight, below\.bias"):
        list(trainer.epochs(ROWS, None, epochs=1))


def test_acting_after_a_step_is_not_compiled() -> None:
    class Acting(Players):
        def after_step(self, trained: nn.Module, progress: float) -> None:
            trained.get_parameter("below.weight").clamp_(-0.01, 0.01)

    model = network()
    trainer = Trainer(model, Acting(([], {})), **grouped(compile=True))
    (epoch,) = trainer.epochs(ROWS, None, epochs=1)
    assert epoch.notes == ("steps are not compiled: the objective acts after each step",)
    assert model.get_parameter("below.weight").abs().max() <= 0.01

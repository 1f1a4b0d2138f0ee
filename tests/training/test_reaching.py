"""Layers that a forward leaves out by chance are trained; what no gradient ever reaches is named."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grouped import grouped
from reuse.data.rows import Batch
from reuse.errors import ReuseError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.objectives.supervised import Classification
from reuse.optim.clipping import clip_adaptive, clip_by_layer_norm, clip_by_norm, clip_by_value
from reuse.training.step import StepParts
from reuse.training.trainer import Trainer

DRAW = torch.Generator().manual_seed(0)
ROWS = torch.randn(48, 4, generator=DRAW, dtype=torch.float64)
CLIPS = clip_by_value(0.1), clip_by_norm(0.5), clip_by_layer_norm(0.5), clip_adaptive(0.1)
LABELS = torch.randint(3, (48,), generator=DRAW)
DRAWS = {
    "random": random.random,
    "numpy": lambda: float(np.random.rand()),  # noqa: NPY002 - as many models do
    "torch": lambda: float(torch.rand(())),
}


class Dropping(nn.Module):
    """Two layers of which each is left out of most training steps."""

    def __init__(self, draw: str, rate: float = 0.9) -> None:
        super().__init__()
        self.draw, self.rate = draw, rate
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        kept = [not self.training or DRAWS[self.draw]() >= self.rate for _ in range(2)]
        self.seen.append((kept[0], kept[1]))
        for is_kept, layer in zip(kept, (self.first, self.second), strict=True):
            x = x + torch.tanh(layer(x)) if is_kept else x
        return x


class Unused(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.spare, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.spare(x).detach() if self.how == "detached" else x)


def model_of(*layers: nn.Module) -> nn.Module:
    model = nn.Sequential(*layers).double()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=draw)
    return model


def trainer(model: nn.Module, **settings: Any) -> Trainer:
    return Trainer(model, Classification(3), **grouped("sgd", learning_rate=0.1, **{"batch_size": 2, **settings}))


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("batch_size", [2, 48])
def test_a_layer_that_is_left_out_by_chance_is_trained_all_the_same(draw: str, batch_size: int) -> None:
    dropping = Dropping(draw)
    ours, theirs = model_of(dropping, nn.Linear(4, 3)), model_of(Dropping(draw), nn.Linear(4, 3))
    list(trainer(ours, batch_size=batch_size).epochs(ROWS, LABELS, epochs=3))
    assert (False, False) in dropping.seen, "no layer was left out"
    before = theirs.state_dict()
    moved = [not torch.equal(before[name], tensor) for name, tensor in ours.state_dict().items()]
    kept = [any(some) for some in zip(*dropping.seen, strict=True)]
    assert moved == [kept[0]] * 2 + [kept[1]] * 2 + [True] * 2


@pytest.mark.parametrize("how", ["unused", "detached"])
def test_what_no_gradient_reaches_in_an_epoch_is_named(how: str) -> None:
    with pytest.raises(ReuseError, match=r"no gradient reached spare\.weight, spare\.bias in a whole epoch"):
        list(trainer(Unused(how).double()).epochs(ROWS, LABELS, epochs=2))


@pytest.mark.parametrize(
    "parts", [StepParts(), StepParts(sharpness=0.05), *(StepParts(clipping=[clip]) for clip in CLIPS)]
)
def test_steps_in_which_all_that_trains_is_left_out_leave_it_as_it_is(parts: StepParts) -> None:
    model = model_of(nn.Linear(4, 4), Dropping("torch", 0.8), nn.Linear(4, 3))
    freeze(model, "0,2")
    dropping = model[1]
    ours, moved = trainer(model, parts=parts), []
    for number in range(30):
        before = model.state_dict()["1.first.weight"].clone(), model.state_dict()["1.second.weight"].clone()
        ours.step(Batch((ROWS[number : number + 2],), LABELS[number : number + 2]))
        after = model.state_dict()["1.first.weight"], model.state_dict()["1.second.weight"]
        moved.append(tuple(not torch.equal(*pair) for pair in zip(before, after, strict=True)))
    seen = dropping.seen[1::2] if parts.sharpness else dropping.seen  # its second gradients are those that move
    assert moved == seen
    assert (False, False) in seen


def test_chance_is_no_excuse_after_many_steps() -> None:
    model = Unused("detached").double()
    model.last = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3).double())
    ours = trainer(model, batch_size=16).epochs(ROWS, LABELS, epochs=20)
    numbers: list[int] = []
    with pytest.raises(ReuseError, match=r"no gradient reached spare\.weight, spare\.bias in a whole epoch"):
        numbers.extend(epoch.number for epoch in ours)
    assert numbers == [1, 2, 3, 4, 5, 6], "three steps an epoch, and twenty are enough"


def test_what_a_cut_does_not_hold_is_named_at_once() -> None:
    model = Unused("unused").double()
    model.add_module("last", model_of(nn.Linear(4, 4), nn.Linear(4, 3)))
    freeze(model, "last.0")
    parts = cut(model, ROWS)
    ours = Trainer(model, Classification(3), network=parts.suffix)
    with pytest.raises(ReuseError, match=r"no gradient reached spare\.weight, spare\.bias, and none can"):
        ours.step(Batch(parts.prefix(ROWS[:2]), LABELS[:2]))


@pytest.mark.parametrize("draw", DRAWS)
def test_layers_that_are_left_out_behind_a_cut_are_trained_as_without_one(draw: str) -> None:
    def trained(cached: bool) -> dict[str, Tensor]:
        model = model_of(nn.Linear(4, 4), Dropping(draw, 0.6), nn.Linear(4, 3))
        freeze(model, "0")
        parts = cut(model, ROWS)
        rows = parts.prefix(ROWS)[0].detach() if cached else ROWS
        ours = Trainer(
            model, Classification(3), network=parts.suffix if cached else model, **grouped("adam", batch_size=8)
        )
        list(ours.epochs(rows, LABELS, epochs=2))
        return model.state_dict()

    torch.testing.assert_close(trained(cached=True), trained(cached=False), rtol=1e-9, atol=1e-12)

"""Cuts of models that read more than they show: what no row of the example does, weights that other layers hold."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from exact_cuts import ROWS, Case, ThreeLayers, hold_to_model

X = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1)).double()
SEQUENCES = torch.randn(ROWS, 5, 4, generator=torch.Generator().manual_seed(2)).double()
PADDED = SEQUENCES.clone()  # behind the three rows that a model is cut on, which are full
PADDED[3, 2:], PADDED[4:, 4:] = 0.0, 0.0


def any_step(x: Tensor) -> Tensor:
    return (x.abs().sum(-1) > 0).any(0)


class MasksStepsOfNone(ThreeLayers):
    """Steps that no row of the batch has count nothing."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x).sin() * any_step(x)[None, :, None]
        return self.b(hidden + 1).mean(1)


class AnyStep(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return any_step(x)


class MasksByALayer(ThreeLayers):
    """Steps that no row of the batch has count nothing, which a layer without tensors finds."""

    def __init__(self) -> None:
        super().__init__()
        self.any = AnyStep()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x).sin() * self.any(x)[None, :, None]
        return self.b(hidden + 1).mean(1)


class Waves(nn.Module):
    """Places as waves, of the length of the rows alone."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.arange(x.shape[1]).to(x)[:, None].sin()


class PlacesAsWaves(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.waves = Waves()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x)
        return self.b((hidden + self.waves(hidden)).relu().sum(1))


class TrimsStepsOfNone(ThreeLayers):
    """Steps that no row of the batch has are left out."""

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x)[:, any_step(x)]).mean(1)


class ScalesByPadding(ThreeLayers):
    """A number, the same in all batches without padding."""

    def forward(self, x: Tensor) -> Tensor:
        padded = (x == 0).sum().clamp(max=1)
        return self.b(torch.where(padded > 0, self.a(x).relu(), self.a(x))).mean(1)


class MarksStepsOfNone(ThreeLayers):
    """Steps that no row of the batch has are written into a tensor that begins alike in every batch."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x)
        marks = hidden.new_zeros(5)
        marks.masked_fill_(~any_step(x), 1.0)
        return self.b(hidden.sin() * (1 + marks[None, :, None]) + 1).mean(1)


class MarksInNumbers(ThreeLayers):
    """The same, into a tensor that is made of numbers alone."""

    def forward(self, x: Tensor) -> Tensor:
        marks = torch.zeros(5).double()
        marks.masked_fill_(~any_step(x), 1.0)
        return self.b(self.a(x).sin() * (1 + marks[None, :, None]) + 1).mean(1)


class SetsNumbers(ThreeLayers):
    """The same, by an index."""

    def forward(self, x: Tensor) -> Tensor:
        marks = torch.zeros(5).double()
        marks[~any_step(x)] = 1.0
        return self.b(self.a(x).sin() * (1 + marks[None, :, None]) + 1).mean(1)


class LessFirst(ThreeLayers):
    """The first row is the measure of the others."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x)
        return self.b(hidden - hidden[:1].mean())


class PlacesLike(ThreeLayers):
    """Places of a type that is asked of the first row, which is no reason not to cache what they are added to."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x)
        places = torch.arange(5).type_as(hidden)[:, None] + torch.zeros_like(x[0])
        return self.b((hidden + places).sum(1))


class Reader(nn.Module):
    """A frozen layer that looks at the weights of another one, which it does not hold."""

    def __init__(self, other: nn.Linear, how: Any) -> None:
        super().__init__()
        self.own, self.others, self.how = nn.Linear(4, 4).double(), [other], how

    def forward(self, x: Tensor) -> Tensor:
        return self.own(x) @ self.how(self.others[0].weight)


class ReadByFrozen(nn.Module):
    """What a frozen layer computes follows a weight that trains, without a gradient."""

    def __init__(self, how: Any) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(4, 4).double(), nn.Linear(4, 4).double()
        self.reader = Reader(self.c, how)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.reader(self.a(x)))


CASES = {
    "masks steps of none": Case(MasksStepsOfNone, "a", (PADDED,)),
    "trims steps of none": Case(TrimsStepsOfNone, "a", (PADDED,)),
    "marks steps of none": Case(MarksStepsOfNone, "a", (PADDED.flip(0),)),
    "marks steps of none in numbers": Case(MarksInNumbers, "a", (PADDED,)),
    "sets numbers of steps of none": Case(SetsNumbers, "a", (PADDED,)),
    "masks by a layer": Case(MasksByALayer, "a", (PADDED,)),
    "places as waves": Case(PlacesAsWaves, "a", (SEQUENCES,), frontier=[(5, 4)]),
    "scales by padding": Case(ScalesByPadding, "a", (PADDED,)),
    "less the first": Case(LessFirst, "a", (X,), frontier=[(4,)]),
    "places like the first": Case(PlacesLike, "a", (SEQUENCES,), frontier=[(4,)]),
    "a detached weight": Case(lambda: ReadByFrozen(Tensor.detach), "a,reader.own", (X,), frontier=[(4,)]),
    "a part of a weight": Case(
        lambda: ReadByFrozen(lambda weight: weight.detach()[1:].sum(0).diag()), "a,reader.own", (X,), frontier=[(4,)]
    ),
    "the data of a weight": Case(
        lambda: ReadByFrozen(lambda weight: weight.data),
        "a,reader.own",
        (X,),
        "reads 'c.weight', which trains",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_exact_or_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    hold_to_model(CASES[name])
    assert capfd.readouterr() == ("", "")

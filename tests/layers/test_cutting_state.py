"""Forwards that draw numbers, count, remember and assign: what they leave behind is the same behind a cut."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from exact_cuts import ROWS, Case, ThreeLayers, doubled, hold_to_model
from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze

X = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(0)).double()
TOKENS = torch.randint(0, 9, (ROWS, 3), generator=torch.Generator().manual_seed(1))


class DropsByPython(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if not (self.training and random.random() < 0.5):
            y = self.b(y) + y
        return self.c(y)


class DropsByNumpy(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if not (self.training and np.random.rand() < 0.5):  # noqa: NPY002
            y = self.b(y) + y
        return self.c(y)


class DropsByTorch(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if not (self.training and torch.rand([]) < 0.5):
            y = self.b(y) + y
        return self.c(y)


class DropsByItsOwn(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.draws = random.Random(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if not (self.training and self.draws.random() < 0.5):
            y = self.b(y) + y
        return self.c(y)


class NoiseOfNoRows(ThreeLayers):
    """Noise of one size, whatever the batch: a constant to a tracer."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        return self.c(y + torch.randn(4, dtype=y.dtype)) if self.training else self.c(y)


class NoiseOfRows(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        return self.c(y + torch.randn_like(y)) if self.training else self.c(y)


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(4, 4).double(), inner, nn.Linear(4, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(self.first(x)))


class Centre(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(4).double())

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        out = self.c(y - self.center)
        if self.training:
            self.center = 0.9 * self.center + 0.1 * y.mean(0).detach()
        return out


class CentreInPlace(Centre):
    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        out = self.c(y - self.center)
        if self.training:
            self.center.mul_(0.9).add_(y.mean(0).detach(), alpha=0.1)
        return out


class FrozenFromMovingCentre(Centre):
    """Nothing but a buffer that moves later in the forward meets a frozen value."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x) - self.center
        out = self.c(self.b(y))
        if self.training:
            self.center.mul_(0.9).add_(out.mean(0).detach(), alpha=0.1)
        return out


class CentreThenRead(Centre):
    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        self.center = 0.5 * self.center + 0.5 * y.mean(0).detach()
        return self.c(y - self.center)


class CentreOfFrozen(Centre):
    """The running mean is one of frozen values."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        self.center = 0.5 * self.center + 0.5 * y.mean(0)
        return self.c(self.b(y) - self.center)


class Auxiliary(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.aux_loss = torch.zeros(()).double()

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        self.aux_loss = y.square().mean().detach()
        return self.c(y)


class Remembers(ThreeLayers):
    """Keeps several values in a dictionary of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        self.seen["mean"] = y.mean(0).detach()
        return self.c(y)


class Appends(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.losses: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        self.losses.append(y.mean().detach())
        return self.c(y)


class Scheduled(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.k = 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x)) * self.k
        if self.training:
            self.k = self.k + 1
        return self.c(y)


class ReadsChild(nn.Module):
    """Reads what a layer that trains left behind in itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.inner, self.c = nn.Linear(4, 4).double(), Auxiliary(), nn.Linear(4, 2).double()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.c(self.inner(self.a(x)))
        return y, self.inner.aux_loss


class Queue(ThreeLayers):
    """Keys of earlier batches (MoCo, https://arxiv.org/abs/1911.05722)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("queue", torch.randn(4, 20).double())
        self.register_buffer("place", torch.zeros(1, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        out = self.c(y) @ self.queue.clone()
        if self.training:
            rows = (torch.arange(y.shape[0]) + self.place) % 20
            self.queue[:, rows] = y.detach().T
            self.place[0] = (self.place[0] + y.shape[0]) % 20
        return out


class CountsInTheFrozen(nn.Module):
    """A frozen layer that counts its calls in a buffer, and reads the count."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).double()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(x) * torch.where(self.calls % 10 == 0, 2.0, 1.0)


class NoisyFrozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x + 0.1 * torch.randn_like(x))


class MixingFirst(nn.Module):
    """A frozen layer that centres its rows before anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x - x.mean(0))


class NoisyInside(nn.Module):
    """A frozen layer that adds noise between two layers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.Linear(4, 4).double() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.one(x)
        return self.two(hidden + torch.randn_like(hidden))


class MixingFrozen(NoisyFrozen):
    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y - y.mean(0)


class CountedByAttribute(NoisyFrozen):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(x) * (1 + self.calls % 2)


class Teacher(ThreeLayers):
    """A momentum teacher that moves in the forward (BYOL, https://arxiv.org/abs/2006.07733)."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Linear(4, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if self.training:
            with torch.no_grad():
                for ours, theirs in zip(self.teacher.parameters(), self.b.parameters(), strict=True):
                    ours.mul_(0.9).add_(theirs, alpha=0.1)
        return self.c(self.b(y)) - self.teacher(y)


class TeacherByData(Teacher):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        for ours, theirs in zip(self.teacher.parameters(), self.b.parameters(), strict=True):
            ours.data = ours.data * 0.9 + theirs.data * 0.1
        return self.c(self.b(y)) - self.teacher(y)


class NormedByData(ThreeLayers):
    """A layer that trains has rows of length 1, which each call sees to."""

    def forward(self, x: Tensor) -> Tensor:
        self.b.weight.data = nn.functional.normalize(self.b.weight.data)
        return self.c(self.b(self.a(x)))


class TrainsInEvaluation(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        self.b.weight.requires_grad_(not self.training)
        return self.c(self.b(self.a(x)))


class MakesParameter(ThreeLayers):
    """A scale that is made of the first batch's size."""

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones_like(x[0]))
        return self.c(self.b(self.a(x)) * self.scale)


class MakesParameters(ThreeLayers):
    """One more with each call."""

    def forward(self, x: Tensor) -> Tensor:
        scale = nn.Parameter(torch.ones_like(x[0]))
        self.register_parameter(f"scale{len(list(self.parameters()))}", scale)
        return self.c(self.b(self.a(x)) * scale)


SEEN: list[int] = []


class CountsInGlobal(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        SEEN.append(len(x))
        return self.c(self.b(self.a(x))) * (1 + 1e-3 * len(SEEN))


class AnotherParameter(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        self.b.weight = nn.Parameter(nn.functional.normalize(self.b.weight.detach()))
        return self.c(self.b(self.a(x)))


class OtherMemory(ThreeLayers):
    """The same, by a write that gives the weight other memory."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.b.weight.set_(nn.functional.normalize(self.b.weight))
        return self.c(self.b(self.a(x)))


class OtherSize(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        self.b.weight.data.resize_(3, 4)
        self.b.weight.data.resize_(4, 4)
        return self.c(self.b(self.a(x)))


class SwitchesOff(ThreeLayers):
    """A layer that leaves training mode with the first call."""

    def forward(self, x: Tensor) -> Tensor:
        self.c.train(False)
        return self.c(self.b(self.a(x)))


class SwitchesForACall(ThreeLayers):
    """A layer without dropout for one of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Sequential(self.c, nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        y, trains = self.b(self.a(x)), self.c.training
        self.c.eval()
        still = self.c(y)
        self.c.train(trains)
        return self.c(y) + still


class DropsAlways(SwitchesForACall):
    """Dropout in evaluation mode too."""

    def forward(self, x: Tensor) -> Tensor:
        self.c.train()
        return self.c(self.b(self.a(x)))


class HoldsFrozen(ThreeLayers):
    """Switches a layer off that is off."""

    def forward(self, x: Tensor) -> Tensor:
        self.a.eval()
        return self.c(self.b(self.a(x)))


class Renormed(nn.Module):
    """An embedding that renormalises the rows that it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4, max_norm=1.0).double()
        self.a, self.c = nn.Linear(4, 4).double(), nn.Linear(4, 2).double()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.c(self.a(self.embedding(tokens)).mean(1))


class Codebook(ThreeLayers):
    """Vector quantisation with a moving codebook (https://arxiv.org/abs/1711.00937)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codes", torch.randn(5, 4).double())

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        nearest = torch.cdist(y, self.codes).argmin(1)
        hot = F.one_hot(nearest, 5).to(y.dtype)
        quantized = y + (self.codes[nearest] - y).detach()
        if self.training:
            sums = hot.T @ y.detach()
            self.codes.data.copy_(self.codes * 0.9 + 0.1 * sums)
        return self.c(quantized)


def normed(layer: nn.Module) -> nn.Module:
    return nn.utils.parametrizations.spectral_norm(layer)


CASES = {
    "drops by random": Case(DropsByPython, "a", (X,), frontier=[(4,)]),
    "drops by NumPy": Case(DropsByNumpy, "a", (X,), frontier=[(4,)]),
    "drops by torch": Case(DropsByTorch, "a", (X,), frontier=[(4,)]),
    "drops by a generator of its own": Case(DropsByItsOwn, "a", (X,), frontier=[(4,)]),
    "drops in a mixed child": Case(lambda: Around(DropsByPython()), "first,inner.a", (X,), frontier=[(4,)]),
    "noise of no rows": Case(NoiseOfNoRows, "a", (X,)),
    "noise of rows": Case(NoiseOfRows, "a", (X,), frontier=[(4,)]),
    "a centre": Case(Centre, "a", (X,), frontier=[(4,)]),
    "a centre in a mixed child": Case(lambda: Around(Centre()), "first,inner.a", (X,), frontier=[(4,)]),
    "a centre in place": Case(CentreInPlace, "a", (X,), frontier=[(4,)]),
    "a frozen value less a centre": Case(FrozenFromMovingCentre, "a", (X,), frontier=[(4,)]),
    "a centre read after it moved": Case(CentreThenRead, "a", (X,), frontier=[(4,)]),
    "a centre of frozen values": Case(CentreOfFrozen, "a", (X,), frontier=[(4,)]),
    "an auxiliary loss": Case(Auxiliary, "a", (X,), frontier=[(4,)]),
    "a dictionary of its own": Case(Remembers, "a", (X,), frontier=[(4,)]),
    "a list of its own": Case(Appends, "a", (X,), frontier=[(4,)]),
    "a scheduled number": Case(Scheduled, "a", (X,)),
    "a scheduled number in a mixed child": Case(lambda: Around(Scheduled()), "first,inner.a", (X,), frontier=[(4,)]),
    "what a child left": Case(ReadsChild, "a", (X,)),
    "a queue": Case(Queue, "a", (X,), frontier=[(4,)]),
    "a codebook": Case(Codebook, "a", (X,)),
    "a frozen layer that counts": Case(
        lambda: Around(nn.Sequential(CountsInTheFrozen(), nn.Linear(4, 4).double())),
        "first,inner.0",
        (X,),
        frontier=[(4,)],
    ),
    "counts first of all": Case(
        lambda: nn.Sequential(CountsInTheFrozen(), nn.Linear(4, 2).double()),
        "0",
        (X,),
        "'0'.*counts|'0'.*changes a buffer",
    ),
    "noise first of all": Case(
        lambda: nn.Sequential(NoisyFrozen(), nn.Linear(4, 2).double()), "0", (X,), "'0'.*random"
    ),
    "mixes rows first of all": Case(
        lambda: nn.Sequential(MixingFirst(), nn.Linear(4, 2).double()), "0", (X,), "'0'.*rows"
    ),
    "mixes rows inside": Case(
        lambda: nn.Sequential(MixingFrozen(), nn.Linear(4, 2).double()), "0", (X,), frontier=[(4,)]
    ),
    "noise inside": Case(lambda: nn.Sequential(NoisyInside(), nn.Linear(4, 2).double()), "0", (X,), frontier=[(4,)]),
    "changes by its calls": Case(
        lambda: nn.Sequential(CountedByAttribute(), nn.Linear(4, 2).double()), "0", (X,), "'0'"
    ),
    "a teacher": Case(Teacher, "a,teacher", (X,)),
    "a teacher by its data": Case(TeacherByData, "a,teacher", (X,), frontier=[(4,)]),
    "a weight by its data": Case(NormedByData, "a", (X,), frontier=[(4,)]),
    "what trains changes": Case(TrainsInEvaluation, "a", (X,), "changes which of them train"),
    "a parameter made by the first call": Case(
        MakesParameter, "a", (X,), "its first call makes the parameter 'scale': call the model on a batch first"
    ),
    "a parameter made by each call": Case(MakesParameters, "a", (X,), "its calls make parameters, 'scale6' among them"),
    "a list of nobody's": Case(
        CountsInGlobal, "a", (X,), "cut: its forward changes what its code reads outside of the"
    ),
    "another parameter": Case(AnotherParameter, "a", (X,), "puts other parameters in place"),
    "other memory": Case(OtherMemory, "a", (X,), frontier=[(4,)]),
    "another size": Case(OtherSize, "a", (X,), frontier=[(4,)]),
    "other memory of a frozen layer": Case(OtherMemory, "a,b", (X,), frontier=[(4,)]),
    "other memory in a mixed child": Case(lambda: Around(OtherMemory()), "first,inner.a", (X,)),
    "other memory in a frozen child": Case(lambda: Around(OtherMemory()), "first,inner", (X,)),
    "other memory in a child that trains": Case(lambda: Around(OtherMemory()), "first", (X,)),
    "a mode": Case(SwitchesOff, "a", (X,), frontier=[(4,)]),
    "a mode for a call": Case(SwitchesForACall, "a", (X,), frontier=[(4,)]),
    "a mode for good": Case(DropsAlways, "a", (X,), frontier=[(4,)]),
    "a mode of a frozen layer": Case(HoldsFrozen, "a", (X,), frontier=[(4,)]),
    "a mode in a mixed child": Case(lambda: Around(SwitchesOff()), "first,inner.a", (X,)),
    "a mode in a frozen child": Case(lambda: Around(SwitchesOff()), "first,inner", (X,)),
    "a mode in a child that trains": Case(lambda: Around(SwitchesOff()), "first", (X,)),
    "a weight by its data in a mixed child": Case(lambda: Around(NormedByData()), "first,inner.a", (X,)),
    "a frozen embedding that renormalises": Case(Renormed, "embedding,a", (TOKENS,), "'embedding'"),
    "an embedding that trains and renormalises": Case(Renormed, "a", (TOKENS,), "no frozen layer comes before"),
    "spectral norm that trains": Case(
        lambda: doubled(nn.Linear(4, 4), normed(nn.Linear(4, 4)), nn.Linear(4, 2)),
        "0",
        (X,),
        frontier=[(4,)],
    ),
    "spectral norm that is frozen": Case(
        lambda: doubled(normed(nn.Linear(4, 4)), nn.Linear(4, 4), nn.Linear(4, 2)),
        "0",
        (X,),
        frontier=[(4,)],
    ),
    "weight norm that is frozen": Case(
        lambda: doubled(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2)),
        "0",
        (X,),
        frontier=[(4,)],
    ),
    "a live batch norm": Case(
        lambda: doubled(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), "0", (X,), frontier=[(4,)]
    ),
    "statistics of each batch, frozen": Case(
        lambda: doubled(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2)),
        "0,1",
        (X,),
        frontier=[(4,)],
    ),
    "live statistics between frozen layers": Case(
        lambda: doubled(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 4), nn.Linear(4, 2)),
        "0,2",
        (X,),
        frontier=[(4,)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_exact_or_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    hold_to_model(CASES[name])
    assert capfd.readouterr() == ("", "")  # no graphs, no notes of torch's


def test_a_model_that_made_its_parameter_is_cut() -> None:
    model = MakesParameter()
    model(X)
    freeze(model, "a")
    parts = cut(model, X)
    torch.testing.assert_close(parts.suffix.train()(*parts.prefix(X)), model(X), rtol=0, atol=0)


@pytest.mark.parametrize("inner", [False, True])
def test_a_layer_that_is_frozen_by_hand_and_switched_off_in_a_forward_needs_freeze(inner: bool) -> None:
    model = Around(HoldsFrozen()) if inner else HoldsFrozen()
    for layer in (model.first, model.inner.a) if inner else (model.a,):
        layer.requires_grad_(False)
    model.train()
    if inner:  # one call, behind the layer that is cut
        assert cut(model, X).uncached
        return
    with pytest.raises(CutError, match=r"switches 'a' to evaluation mode: freeze it with reuse\.freeze"):
        cut(model, X)
    freeze(model, "a")
    assert cut(model, X).bytes_per_sample == 32


class OtherWeights(nn.Module):
    """Calls a frozen layer with other weights than its own, whose result few rows take."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.end = nn.Parameter(torch.ones(6))
        self.other = [{"weight": torch.eye(6) * 2, "bias": torch.zeros(6)}]

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        odd = torch.func.functional_call(self.second, self.other[0], hidden)
        return self.head(torch.where(x[:, :1] > 2, odd, hidden) * self.end)


def test_a_layer_that_is_called_with_other_weights_is_not_cut_as_if_it_had_its_own() -> None:
    torch.manual_seed(0)
    model = OtherWeights()
    freeze(model, "first,second")
    parts = cut(model, torch.rand(8, 6))
    rows = torch.rand(8, 6) + 2  # no row of the example shows it
    model.eval()
    parts.suffix.eval()
    with torch.no_grad():
        assert torch.allclose(parts.suffix(*parts.prefix(rows)), model(rows))

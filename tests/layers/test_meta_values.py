"""Forwards that iterate over what layers return: as many parts as the example has, if that is so for any rows."""

import pytest
import torch
from timm.models.twins import PatchEmbed
from torch import Tensor, nn

from exact_cuts import ROWS, Case, ThreeLayers, build, hold_to_model
from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.example import as_example
from reuse.layers.freezing import freeze
from reuse.layers.meta_values import returned_values

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(ROWS, 4, generator=GENERATOR).double()
SEQUENCE = torch.randn(ROWS, 6, 4, generator=GENERATOR).double()
IMAGES = torch.randn(ROWS, 3, 8, 6, generator=GENERATOR).double()


class UnpacksSizes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = PatchEmbed((8, 6), 2, 3, 4).double(), nn.Conv2d(4, 5, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        patches, size = self.a(x)
        return self.b(patches.reshape(x.shape[0], *size, -1).permute(0, 3, 1, 2)).flatten(1)


class UnpacksShapes(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        sizes = tuple(y.shape)
        return self.c(self.b(y).reshape(*y.shape[:1], *x.shape[1:]).view(*y.shape).reshape(sizes))


class SumsStates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.LSTM(4, 3, batch_first=True).double(), nn.Linear(3, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        outputs, states = self.a(x)
        return self.b(outputs.mean(1)) + sum(self.b(state[-1]) * number for number, state in enumerate([*states], 2))


class Chunks(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.cat([part.flip(1) for part in self.b(self.a(x)).chunk(2, dim=1)], 1))


class ChunksOfFrozen(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        first, second = self.a(x).chunk(2, dim=1)
        return self.c(torch.cat([second * 2, first], 1))


class CountsSteps(nn.Module):
    """A cell behind a frozen layer goes along the steps of a sequence, and over its levels by their number."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.cell = nn.Linear(4, 4).double(), nn.GRUCell(4, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        y, state = self.a(x), x.new_zeros(len(x), 4)
        for step in range(y.shape[1]):
            state = self.cell(y[:, step], state)
        halves = state.chunk(2, 1)
        return torch.stack([halves[number] * (number + 1) for number in range(len(halves))], 1)


class CountsRows(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        return torch.stack([self.c(y[row]) for row in range(x.shape[0])])


class UnbindsRows(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.c(row) for row in self.b(self.a(x)).unbind()])


class IteratesRows(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.c(row) for row in self.b(self.a(x))])


CASES = {
    "sizes": Case(UnpacksSizes, "a", (IMAGES,)),
    "shapes": Case(UnpacksShapes, "a", (X,), frontier=[(4,)]),
    "states": Case(SumsStates, "a", (SEQUENCE,)),
    "steps": Case(CountsSteps, "a", (SEQUENCE,), frontier=[(6, 4)]),
    "chunks": Case(Chunks, "a", (X,), frontier=[(4,)]),
    "frozen chunks": Case(ChunksOfFrozen, "a", (X,), frontier=[(4,)]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_taken_apart_is_followed(name: str) -> None:
    case = CASES[name]
    hold_to_model(case)
    assert cut(build(case), case.inputs).engine == "torch.fx"


@pytest.mark.parametrize("kind", [UnbindsRows, IteratesRows, CountsRows])
def test_rows_are_never_counted(kind: type[nn.Module]) -> None:
    case = Case(kind, "a", (X,), frontier=[(4,)])
    hold_to_model(case)
    assert cut(build(case), case.inputs).engine == "own forward"  # no graph, which would hold for one number of them


class Halting(nn.Module):
    """Goes on as long as any row is loud, and says how often."""

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x, 1 + int(x.detach().abs().max() > 50)


class GoesOnWhileLoud(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.halting = Halting()

    def forward(self, x: Tensor) -> Tensor:
        y, steps = self.halting(self.a(x))
        for _ in range(steps):
            y = self.b(y)
        return self.c(y)


class Trims(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, : 2 + int(x.detach().abs().max() > 50)]


class GoesToTheLongest(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.trim = Trims()

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.trim(self.a(x)))
        return sum(self.c(y[:, step]) for step in range(y.shape[1]))


class Levels(nn.Module):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [x] * (1 + int(x.detach().abs().max() > 50))


class SumsLevels(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.levels = Levels()

    def forward(self, x: Tensor) -> Tensor:
        return sum(self.c(self.b(level)) for level in [*self.levels(self.a(x))])


@pytest.mark.parametrize(("kind", "rows"), [(GoesOnWhileLoud, X), (GoesToTheLongest, SEQUENCE), (SumsLevels, X)])
def test_what_depends_on_the_rows_is_not_taken_from_the_example(kind: type[nn.Module], rows: Tensor) -> None:
    torch.manual_seed(0)
    model = kind().eval()
    freeze(model, "a")
    assert not torch.allclose(model(1000 * rows), 1000 * model(rows), atol=10)  # loud rows take another way
    try:
        parts = cut(model, rows)
    except CutError:
        return
    model.eval()
    torch.testing.assert_close(parts.suffix(*parts.prefix(1000 * rows)), model(1000 * rows))


def test_values_hold_no_numbers() -> None:
    model = SumsStates()
    found = returned_values(model, as_example(SEQUENCE))
    ((outputs, states),) = found["a"]
    assert (outputs.shape, [state.shape for state in states]) == ((ROWS, 6, 3), [(1, ROWS, 3)] * 2)
    assert outputs.is_meta
    assert len(found["b"]) == 3

"""Forwards that iterate over what layers return: as many parts as the example has, if that is so for any rows."""

import pytest
import torch
from torch import Tensor, nn

from exact_cuts import ROWS, Case, ThreeLayers, build, hold_to_model
from reuse.layers.cutting import cut
from reuse.layers.example import as_example
from reuse.layers.meta_values import returned_values

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(ROWS, 4, generator=GENERATOR).double()
SEQUENCE = torch.randn(ROWS, 6, 4, generator=GENERATOR).double()
IMAGES = torch.randn(ROWS, 3, 8, 6, generator=GENERATOR).double()


class Patches(nn.Module):
    """Patches of an image in a row, and the size of the grid that they lie in."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 2, 2).double()

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        maps = self.convolution(x)
        height, width = maps.shape[2:]
        return maps.flatten(2).transpose(1, 2), (height, width)


class UnpacksSizes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Patches(), nn.Conv2d(4, 5, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        patches, size = self.a(x)
        return self.b(patches.reshape(x.shape[0], *size, -1).permute(0, 3, 1, 2)).flatten(1)


class UnpacksShapes(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        sizes = tuple(y.shape)
        return self.c(self.b(y).reshape(*y.shape[:1], *x.shape[1:]).view(*y.shape).reshape(sizes))


class Pyramid(nn.Module):
    """Levels of an encoder, more at each call; the tests call it with the same number each time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4).double()

    def forward(self, x: Tensor, levels: int) -> list[Tensor]:
        found = [self.layer(x)]
        for _ in range(levels - 1):
            found.append(self.layer(found[-1]).tanh())
        return found


class SumsLevels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Pyramid(), nn.Linear(4, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        few, many = self.a(x, 2), self.a(x, 3)
        return sum(self.b(level) * number for number, level in enumerate([*few, *many], 1))


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
    "levels": Case(SumsLevels, "a", (X,)),
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
    hold_to_model(Case(kind, "a", (X,), refusal="some numbers of rows|cannot be cut"))


def test_values_hold_no_numbers() -> None:
    model = SumsLevels()
    found = returned_values(model, as_example(X))
    assert [len(levels) for levels in found["a"]] == [2, 3]
    assert len(found["b"]) == 5
    assert all(level.is_meta and level.shape == X.shape for levels in found["a"] for level in levels)

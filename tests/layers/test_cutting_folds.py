"""Cuts where a frozen layer is given several views, frames or draws of a row in one batch, in either order."""

import pytest
import torch
from torch import Tensor, nn

from exact_cuts import ROWS, Case, ThreeLayers, doubled, hold_to_model

X = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1)).double()
Z = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(2)).double()
FRAMES = torch.randn(ROWS, 5, 4, generator=torch.Generator().manual_seed(3)).double()
IMAGES = torch.randn(ROWS, 2, 3, 4, 4, generator=torch.Generator().manual_seed(4)).double()


class ViewsInTurns(ThreeLayers):
    """Two views of all rows, the first of all, then the second of all, and no order but that at the end."""

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.b(self.a(torch.cat([x, z])).relu())


class Draws(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x.repeat(3, 1))).view(3, -1, 4).mean(0)


class FramesInTurns(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(0, 1).reshape(-1, 4)
        return self.b(self.a(frames).relu()).view(x.shape[1], -1, 4).mean(0)


class WritesInTurns(ThreeLayers):
    """What is stored is written into behind the cut."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(torch.cat([x, -x]))
        hidden += self.b(torch.cat([x, x]))
        return self.c(hidden).chunk(2)[1]


class InLastPlace(ThreeLayers):
    """The rows lie in the last dimension, in turns."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(torch.cat([x, 2 * x])).T
        return self.b((hidden * self.c.bias[:, None]).T)


class ViewsOfImages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = doubled(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(4, 2, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(self.head(self.body(torch.cat(x.unbind(1)))).chunk(2), 1).amax(1)


class ComparesInTurns(ThreeLayers):
    """Each view with all others, whose row is not to be told."""

    def forward(self, x: Tensor) -> Tensor:
        views = torch.nn.functional.normalize(self.b(self.a(torch.cat([x, -x]))))
        return views @ views.T


CASES = {
    "views in turns": Case(ViewsInTurns, "a", (X, Z), frontier=[(2, 4)]),
    "draws": Case(Draws, "a", (X,), frontier=[(3, 4)]),
    "frames in turns": Case(FramesInTurns, "a", (FRAMES,), frontier=[(5, 4)]),
    "writes in turns": Case(WritesInTurns, "a", (X,)),
    "in the last place": Case(InLastPlace, "a", (X,), frontier=[(4, 2)]),
    "views of images": Case(ViewsOfImages, "body", (IMAGES,), frontier=[(2, 4, 2, 2)]),
    "compares in turns": Case(ComparesInTurns, "a", (X,), frontier=[(2, 4)]),
}


@pytest.mark.parametrize("name", CASES)
def test_exact(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    hold_to_model(CASES[name])
    assert capfd.readouterr() == ("", "")

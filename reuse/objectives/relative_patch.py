"""Where a tile of an image lies beside the one in the middle: Doersch et al. 2015."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from reuse.augmenting.tiles import Tiles
from reuse.data.dataset import Dataset
from reuse.errors import UsageError
from reuse.nn.decoders import encoder_of
from reuse.nn.several import JointHead, encode_each
from reuse.objectives.guessing import Guessing
from reuse.objectives.objective import example_of
from reuse.objectives.pictures import image_shape

GRID, MIDDLE, NEIGHBOURS = 3, 4, 8  # the tiles of a 3×3 grid around the fifth


class PlaceTeller(nn.Module):
    """An encoder of single tiles, and what tells from two codings how one lies to the other.

    Args:
        encoder: from one tile, as large as an image, to the coding.
        place: from the codings of the middle tile and another, one behind the other, to a logit for each place.
        tiles: how images are cut.
    """

    def __init__(self, encoder: nn.Module, place: nn.Module, tiles: Tiles) -> None:
        super().__init__()
        self.encoder, self.place, self.tiles = encoder, place, tiles

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of places, `(batch, 8)`, and those that were drawn, `(batch,)`, row by row."""
        drawn = torch.randint(NEIGHBOURS, (len(x),), device=x.device)
        other = drawn + (drawn >= MIDDLE)
        pair = torch.stack([torch.full_like(other, MIDDLE), other], 1)
        rows = torch.arange(len(x), device=x.device).unsqueeze(1)
        return self.place(encode_each(self.encoder, self.tiles.cut(x)[rows, pair])), drawn


@dataclass(frozen=True)
class RelativePatch(Guessing):
    """The cross-entropy of the place, out of eight, of a tile beside the one in the middle of a 3×3 grid.

    Both go through the same encoder, enlarged to the size that it takes.

    Attributes:
        gap: share of a cell's side that its tile leaves out; each lies at random in its cell.
        hidden: units of the hidden layer between codings and places.
    """

    gap: float = 0.3
    hidden: int = 256
    summary: ClassVar[str] = "tell where a tile of an image lies beside the middle one"
    suits: ClassVar[tuple[str, ...]] = ("images",)
    paper: ClassVar[str] = "Doersch et al. 2015, https://arxiv.org/abs/1505.05192"

    def __post_init__(self) -> None:
        Tiles(GRID, self.gap)
        if self.hidden < 1:
            raise UsageError(f"there are {self.hidden} hidden units between codings and places: give 1 or more")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and two layers behind two codings."""
        tiles = Tiles(GRID, self.gap)
        tiles.check(*image_shape(data, "relative_patch cuts")[1:])
        encoder = encoder_of(model)
        return PlaceTeller(encoder, JointHead(encoder, example_of(data), 2, self.hidden, NEIGHBOURS), tiles)

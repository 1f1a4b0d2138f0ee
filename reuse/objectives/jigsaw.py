"""In which order the tiles of an image were shuffled: Noroozi & Favaro 2016."""

from dataclasses import dataclass
from itertools import permutations as all_orders
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

MOST_CELLS = 3  # a side: of 16 tiles there are 20,922,789,888,000 orders


class OrderTeller(nn.Module):
    """An encoder of single tiles, and what tells their order from all codings.

    Args:
        encoder: from one tile, as large as an image, to the coding.
        order: from the codings, one behind the other, to a logit for each order.
        tiles: how images are cut.
        orders: of the tiles, int64 `(orders, tiles)`.
    """

    orders: Tensor

    def __init__(self, encoder: nn.Module, order: nn.Module, tiles: Tiles, orders: Tensor) -> None:
        super().__init__()
        self.encoder, self.order, self.tiles = encoder, order, tiles
        self.register_buffer("orders", orders)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of orders, `(batch, orders)`, and the numbers of those that were drawn, `(batch,)`."""
        drawn = torch.randint(len(self.orders), (len(x),), device=x.device)
        rows = torch.arange(len(x), device=x.device).unsqueeze(1)
        return self.order(encode_each(self.encoder, self.tiles.cut(x)[rows, self.orders[drawn]])), drawn


@dataclass(frozen=True)
class Jigsaw(Guessing):
    """The cross-entropy of the order in which tiles were shuffled, among orders far from each other.

    Each tile goes through the encoder by itself, enlarged to the size that the encoder takes, so that an image costs as
    much as it has tiles.

    Attributes:
        grid: tiles a side, 2 or 3.
        orders: how many orders there are to tell apart; the paper has up to 1,000.
        gap: share of a cell's side that its tile leaves out.
        hidden: units of the hidden layer between codings and orders.
    """

    grid: int = 3
    orders: int = 64
    gap: float = 0.15
    hidden: int = 256
    summary: ClassVar[str] = "tell in which order the tiles of an image were shuffled"
    suits: ClassVar[tuple[str, ...]] = ("images",)
    paper: ClassVar[str] = "Noroozi & Favaro 2016, https://arxiv.org/abs/1603.09246"

    def __post_init__(self) -> None:
        Tiles(self.grid, self.gap)
        if self.grid > MOST_CELLS:
            raise UsageError(f"a jigsaw has {self.grid} tiles a side: give 2 or 3")
        if self.orders < 2 or self.hidden < 1:
            raise UsageError(f"there are {self.orders} orders and {self.hidden} hidden units: give 2 or more, and 1")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and two layers behind the codings of all tiles."""
        tiles = Tiles(self.grid, self.gap)
        tiles.check(*image_shape(data, "jigsaw cuts")[1:])
        encoder, orders = encoder_of(model), far_orders(self.grid**2, self.orders)
        head = JointHead(encoder, example_of(data), self.grid**2, self.hidden, len(orders))
        return OrderTeller(encoder, head, tiles, orders)


def far_orders(length: int, count: int) -> Tensor:
    """Return orders of which each differs in as many places as can be from those before it, int64 `(count, length)`.

    The paper's first algorithm: next is the one whose Hamming distances to all chosen ones sum to most. It begins with
    the order as it was, and takes the first of equals, so that the same orders are found each time.
    """
    every = torch.tensor(list(all_orders(range(length))), dtype=torch.int8)
    distances, chosen = torch.zeros(len(every), dtype=torch.int64), [0]
    while len(chosen) < min(count, len(every)):
        distances += (every != every[chosen[-1]]).sum(1)
        distances[chosen] = -1
        chosen.append(int(distances.argmax()))
    return every[chosen].long()

"""A missing rectangle told from what surrounds it: context encoders, Pathak et al. 2016."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.nn.decoders import Autoencoder, build_decoder, encoder_of
from reuse.objectives.objective import Network, Objective, example_of
from reuse.objectives.pictures import image_shape

PLACES = {"centre": False, "random": True}
"""Whether the rectangle lies elsewhere in each image."""


@dataclass(frozen=True)
class Inpainting(Objective):
    """The mean squared error of a missing rectangle of the image's shape, which is 0 in what the encoder sees.

    That is the paper's reconstruction loss; its adversarial one makes pictures sharper and is left out.

    Attributes:
        share: of the image's area that is missing.
        place: "centre", or "random" for one drawn for each image.
    """

    share: float = 0.25
    place: str = "centre"
    summary: ClassVar[str] = "tell a missing rectangle of an image from its surroundings"
    suits: ClassVar[tuple[str, ...]] = ("images",)
    paper: ClassVar[str] = "Pathak et al. 2016, https://arxiv.org/abs/1604.07379"

    def __post_init__(self) -> None:
        lookup(PLACES, self.place, "place of what is missing")
        if not 0 < self.share < 1:
            raise UsageError(f"the missing share of an image is {self.share}: give more than 0 and less than 1")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and a decoder behind it."""
        shape = image_shape(data, "inpainting takes a rectangle out of")
        if min(shape[1:]) < 2:
            raise UsageError(f"images of {shape[1]}×{shape[2]} pixels have nothing around a hole: give larger ones")
        encoder = encoder_of(model)
        return Autoencoder(encoder, build_decoder(encoder, example_of(data)))

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over missing values."""
        clean = batch.inputs[0]
        missing = self.missing(clean)
        errors = (network(clean.masked_fill(missing, 0.0)) - clean).square().mean(1, keepdim=True)
        return {"loss": (errors * missing).sum() / missing.sum()}

    def pictures(self, trained: nn.Module, rows: Tensor) -> dict[str, Tensor]:
        """Return rows, rows with a hole, and the hole filled."""
        missing = self.missing(rows)
        holed = rows.masked_fill(missing, 0.0)
        return {"reconstructions": torch.stack([rows, holed, torch.where(missing, trained(holed), rows)])}

    def missing(self, images: Tensor) -> Tensor:
        """Return where pixels are missing, bool `(batch, 1, height, width)`: as many in each image."""
        height, width = images.shape[2:]
        high, wide = (max(1, min(round(self.share**0.5 * side), side - 1)) for side in (height, width))
        top, left = (self._starts(images, side) for side in (height - high, width - wide))
        down, right = (torch.arange(side, device=images.device) for side in (height, width))
        rows = (down >= top) & (down < top + high)
        columns = (right >= left) & (right < left + wide)
        missing: Tensor = rows[:, None, :, None] & columns[:, None, None, :]
        return missing

    def _starts(self, images: Tensor, room: int) -> Tensor:
        """Return where the rectangle of each image begins, `(batch, 1)`, from 0 to `room`."""
        size = (len(images), 1)
        if PLACES[self.place]:
            return torch.randint(room + 1, size, device=images.device)
        return torch.full(size, room // 2, device=images.device)

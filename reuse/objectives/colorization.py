"""Colours told from lightness: Zhang et al. 2016 and Larsson et al. 2016, https://arxiv.org/abs/1603.06668."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reuse.augmenting.lab import MOST_COLOUR, from_lab, grey_of, to_lab
from reuse.augmenting.pixels import Pixels
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.decoders import Autoencoder, build_decoder, encoder_of
from reuse.objectives.objective import Network, Objective, example_of
from reuse.objectives.pictures import image_shape

AXES = 2  # of colour: a from green to red, b from blue to yellow


class Painter(nn.Module):
    """An encoder of grey images and a decoder that tells their colours.

    Args:
        painter: from images to `(batch, 2 · levels, height, width)`; its `encoder` and `decoder` become this one's.
        pixels: what the inputs are.
    """

    def __init__(self, painter: Autoencoder, pixels: Pixels) -> None:
        super().__init__()
        self.encoder, self.decoder, self.pixels = painter.encoder, painter.decoder, pixels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is told of the colours of images that are shown in grey, and a and b, `(batch, 2, h, w)`."""
        coloured = self.pixels.restored(x).clamp(0, 1)
        told: Tensor = self.decoder(self.encoder(self.pixels.standardised(grey_of(coloured))))
        return told, to_lab(coloured)[:, 1:] / MOST_COLOUR


@dataclass(frozen=True)
class Colorization(Objective):
    """Errors of a and b of CIE L*a*b*, of which the encoder sees the lightness L, as a grey picture of three channels.

    With levels, each of a and b is told as one of so many equal intervals: the mean of numbers is grey where a thing
    may be red or blue, and probabilities are not. Without, it is the squared error of both, in units of 110.

    Attributes:
        levels: intervals of each of a and b; 0 tells numbers.
    """

    levels: int = 16
    summary: ClassVar[str] = "tell the colours of images from their lightness"
    suits: ClassVar[tuple[str, ...]] = ("images",)
    paper: ClassVar[str] = "Zhang et al. 2016, https://arxiv.org/abs/1603.08511"

    def __post_init__(self) -> None:
        if self.levels < 0 or self.levels == 1:
            raise UsageError(f"colours have {self.levels} levels: give 2 or more, or 0 for numbers")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and a decoder behind it."""
        shape = image_shape(data, "colorization tells the colours of")
        if shape[0] != 3:
            raise UsageError(
                f"colorization tells colours (3 channels, RGB), and these images have {shape[0]}: pretrain otherwise "
                "(inpainting, masked)"
            )
        encoder = encoder_of(model)
        decoder = build_decoder(encoder, example_of(data), channels=AXES * max(self.levels, 1))
        return Painter(Autoencoder(encoder, decoder), Pixels.of(shape, data.preprocessing))

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over pixels and both axes."""
        told, colours = network(batch.inputs[0])
        if not self.levels:
            return {"loss": (told - colours).square().mean()}
        logits = told.reshape(len(told), self.levels, AXES, *told.shape[2:])
        return {"loss": cross_entropy(logits, self.intervals(colours))}

    def pictures(self, trained: nn.Module, rows: Tensor) -> dict[str, Tensor]:
        """Return images, what the encoder sees of them, and these in the colours that it tells."""
        assert isinstance(trained, Painter)
        told, _ = trained(rows)
        if self.levels:  # the mean of what may be
            middles = (2 * torch.arange(self.levels, device=rows.device) + 1) / self.levels - 1
            shares = told.reshape(len(told), self.levels, AXES, *told.shape[2:]).softmax(1)
            told = (shares * middles.to(told.dtype).view(-1, 1, 1, 1)).sum(1)
        pixels = trained.pixels.restored(rows).clamp(0, 1)
        painted = from_lab(torch.cat([to_lab(pixels)[:, :1], told * MOST_COLOUR], 1))
        shown = torch.stack([trained.pixels.standardised(image) for image in (pixels, grey_of(pixels), painted)])
        return {"colours": shown}

    def intervals(self, colours: Tensor) -> Tensor:
        """Return the numbers of the intervals that colours from -1 to 1 lie in, int64, from 0."""
        return ((colours + 1) / 2 * self.levels).floor().to(torch.int64).clamp(0, self.levels - 1)

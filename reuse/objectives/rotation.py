"""Which way up an image was turned: Gidaris et al. 2018."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.errors import UsageError
from reuse.nn.decoders import coding_shape, encoder_of
from reuse.nn.hidden import initialize
from reuse.objectives.guessing import Guessing
from reuse.objectives.objective import example_of
from reuse.objectives.pictures import image_shape

TURNS = 4  # of a quarter each: values only change their places


class TurnTeller(nn.Module):
    """An encoder, and what tells from a coding by how many quarters an image was turned.

    Args:
        encoder: from `(batch, *input_shape)` to the coding.
        turns: from the coding, flattened, to a logit for each number of quarters.
    """

    def __init__(self, encoder: nn.Module, turns: nn.Module) -> None:
        super().__init__()
        self.encoder, self.turns = encoder, turns

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and quarters, of each image turned each way: `(4 · batch, 4)` and `(4 · batch,)`."""
        turned = torch.cat([x.rot90(quarters, (2, 3)) for quarters in range(TURNS)])
        quarters = torch.arange(TURNS, device=x.device).repeat_interleave(len(x))
        return self.turns(self.encoder(turned).flatten(1)), quarters


@dataclass(frozen=True)
class Rotation(Guessing):
    """The cross-entropy of the quarters by which images were turned; each step sees every image turned all four ways.

    Of what looks alike upside down nothing is learned: a 0, a 1 and an 8 among digits.
    """

    summary: ClassVar[str] = "tell by how many quarters an image was turned"
    suits: ClassVar[tuple[str, ...]] = ("images",)
    paper: ClassVar[str] = "Gidaris et al. 2018, https://arxiv.org/abs/1803.07728"

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and four logits behind it."""
        _, height, width = image_shape(data, "rotation turns")
        if height != width:
            raise UsageError(
                f"rotation turns images by quarters, which {height}×{width} pixels do not fit: make them square (image "
                "size)"
            )
        encoder = encoder_of(model)
        turns = nn.Linear(math.prod(coding_shape(encoder, example_of(data))), TURNS)
        initialize(turns)
        return TurnTeller(encoder, turns)

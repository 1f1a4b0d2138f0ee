"""A network that gives itself labels, which count more and more."""

import torch
from torch import Tensor, nn


class SelfTaught(nn.Module):
    """An encoder and a linear layer to classes, and how much the labels that it gives itself count by now.

    Args:
        encoder: from rows to the coding.
        output: from the coding, flattened, to logits.
    """

    weight: Tensor

    def __init__(self, encoder: nn.Module, output: nn.Module) -> None:
        super().__init__()
        self.encoder, self.output = encoder, output
        self.register_buffer("weight", torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, and the weight."""
        return self.output(self.encoder(x).flatten(1)), self.weight

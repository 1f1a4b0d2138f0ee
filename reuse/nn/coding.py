"""An autoencoder that shows its coding, for objectives that ask something of it."""

from torch import Tensor, nn


class ShownCoding(nn.Module):
    """An encoder and a decoder behind it.

    Args:
        encoder: from `(batch, *input_shape)` to the coding.
        decoder: from the coding back to `(batch, *input_shape)`.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction of `x`, of its shape, and its coding, `(batch, features)`."""
        coding: Tensor = self.encoder(x)
        reconstruction: Tensor = self.decoder(coding)
        return reconstruction, coding.flatten(1)

"""Autoencoders with tied weights: a decoder whose weights are the encoder's, transposed (Vincent et al. 2010)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import linear

from reuse.data.dataset import Dataset
from reuse.nn.decoders import Autoencoder, build_decoder
from reuse.nn.mlp import MLP
from reuse.objectives.autoencoder import Reconstruction
from reuse.objectives.layerwise import layered_encoder
from reuse.objectives.objective import example_of


class Transposed(nn.Module):
    """A linear layer with the weights of another, transposed, and a bias of its own.

    Args:
        of: the other; it stays where it is, and is no child of this one.
    """

    def __init__(self, of: nn.Linear) -> None:
        super().__init__()
        self._of = (of,)  # in a tuple, so that its weights are not saved and trained twice
        self.bias = nn.Parameter(of.weight.new_zeros(of.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` W + b: from what the other gives, `(batch, out)`, to what it takes, `(batch, in)`."""
        return linear(x, self._of[0].weight.t(), self.bias)


@dataclass(frozen=True)
class Tied(Reconstruction):
    """The error of a reconstruction by the encoder's own weights, transposed; biases are the decoder's own.

    Attributes:
        noise: as of `Reconstruction`.
        kind: as of `Reconstruction`.
    """

    summary: ClassVar[str] = "give the inputs back through the encoder's own weights, transposed"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables")
    paper: ClassVar[str] = "Vincent et al. 2010, https://jmlr.org/papers/v11/vincent10a.html"

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer and its mirror behind it, with one set of weights for both."""
        encoder = layered_encoder(model, "tied")
        decoder = build_decoder(encoder, example_of(data))
        for number in range(1, len(encoder.widths) + 1):
            _tie(encoder, decoder, number)
        return Autoencoder(encoder, decoder)


def _tie(encoder: MLP, decoder: nn.Module, number: int) -> None:
    """Give the decoder's layer that undoes a hidden layer of the encoder, from 1, the weights of that layer."""
    place = f"hidden{len(encoder.widths) - number + 1}.linear" if number > 1 else "output"
    of = encoder.get_submodule(f"hidden{number}.linear")
    assert isinstance(of, nn.Linear)
    decoder.set_submodule(place, Transposed(of))

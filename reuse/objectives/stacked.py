"""Autoencoders stacked layer by layer: Bengio et al. 2007, and denoising ones: Vincent et al. 2010."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.decoders import Autoencoder, build_decoder
from reuse.nn.mlp import MLP
from reuse.objectives.autoencoder import Reconstruction
from reuse.objectives.layerwise import (
    Epochs,
    below,
    check_layer_epochs,
    epochs_of_layers,
    hidden_names,
    layer_with_front,
    layered_encoder,
)
from reuse.objectives.objective import Network, Objective, TrainingStage, example_of
from reuse.units import format_count


@dataclass(frozen=True)
class Stacked(Objective):
    """Each layer is an autoencoder of what the layer below gives, once that is trained; then all are one autoencoder.

    The outputs of the layers below are computed once and cached. A layer's decoder is the one of the whole
    autoencoder's layers that undoes it, so that what is trained layer by layer is what is fine-tuned together in the
    epochs that are left.

    Attributes:
        noise: as of `Reconstruction`, for all layers alike, or one a layer, the lowest first, such as `0.1/0.2/0.3`: on
            what the layer reads. The autoencoder as a whole is given the lowest layer's.
        kind: "masking" or "gaussian".
        layer_epochs: for all layers alike, or one a layer; None: each layer, and the whole, has an even share.
    """

    noise: float | tuple[float, ...] = 0.0
    kind: str = "masking"
    layer_epochs: Epochs = None
    summary: ClassVar[str] = "give back what the layer below gives, layer by layer, then all together"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables")
    paper: ClassVar[str] = "Vincent et al. 2010, https://jmlr.org/papers/v11/vincent10a.html"

    def __post_init__(self) -> None:
        for noise in self.noise if isinstance(self.noise, tuple) else (self.noise,):
            Reconstruction(noise, self.kind)
        check_layer_epochs(self.layer_epochs)

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer and its mirror behind it."""
        encoder = layered_encoder(model, "stacked")
        if isinstance(self.noise, tuple) and len(self.noise) != len(encoder.widths):
            layers = len(encoder.widths)
            raise UsageError(
                f"noise has {format_count(len(self.noise), 'number')} for {format_count(layers, 'layer')}: give "
                "one a layer, or one alone"
            )
        return Autoencoder(encoder, build_decoder(encoder, example_of(data)))

    def stages(self, trained: nn.Module, epochs: int) -> tuple[TrainingStage, ...]:
        """Return a stage for each layer, and one for the whole where epochs are left."""
        assert isinstance(trained, Autoencoder)
        encoder = trained.encoder
        assert isinstance(encoder, MLP)
        names = hidden_names(encoder)
        shares = epochs_of_layers(self.layer_epochs, len(names), epochs, len(names) + 1)
        layers = [
            TrainingStage(
                name,
                Autoencoder(layer_with_front(encoder, number), _way_back(trained.decoder, len(names), number)),
                self._reconstruction(number),
                below(encoder, number),
                share,
            )
            for number, (name, share) in enumerate(zip(names, shares, strict=True), start=1)
        ]
        whole = [TrainingStage("whole", trained, self._reconstruction(1))] if sum(shares) < epochs else []
        return (*layers, *whole)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the autoencoder as a whole."""
        return self._reconstruction(1).losses(network, batch)

    def _reconstruction(self, number: int) -> Reconstruction:
        noise = self.noise[number - 1] if isinstance(self.noise, tuple) else self.noise
        return Reconstruction(noise, self.kind)


def _way_back(decoder: nn.Module, layers: int, number: int) -> nn.Module:
    """Return the part of a mirrored decoder that undoes the hidden layer of a number, the lowest of which is 1."""
    if number > 1:
        return decoder.get_submodule(f"hidden{layers - number + 1}")
    names = list(decoder._modules)
    return nn.Sequential(*(decoder.get_submodule(name) for name in names[names.index("output") :]))

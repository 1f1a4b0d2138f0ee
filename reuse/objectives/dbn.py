"""Deep belief nets: machines stacked layer by layer, Hinton et al. 2006, and unrolled into the encoder."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.objectives.layerwise import (
    Epochs,
    below,
    check_layer_epochs,
    epochs_of_layers,
    hidden_names,
    layered_encoder,
)
from reuse.objectives.objective import Network, Objective, TrainingStage
from reuse.objectives.rbm import Contrastive, EncoderAndRbms


@dataclass(frozen=True)
class BeliefNet(Objective):
    """Each layer is the restricted Boltzmann machine of P(h = 1 | v) of the layer below, once that is trained.

    These probabilities are what the layer gives, so they are computed once and cached, and a fine-tuning begins from
    the same layers.

    Attributes:
        steps: Gibbs steps from rows, or from where the chains are, to samples.
        chains: how many chains each machine keeps from step to step; 0: they begin at the rows.
        visible: of the lowest machine, as of `Contrastive`; all others are binary.
        layer_epochs: for all layers alike, or one a layer; None: an even share each; the last one trains to the end.
    """

    steps: int = 1
    chains: int = 0
    visible: str = "auto"
    layer_epochs: Epochs = None
    monitor: ClassVar[str | None] = None
    summary: ClassVar[str] = "stack restricted Boltzmann machines, each of what the layer below gives"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables")
    paper: ClassVar[str] = "Hinton et al. 2006, https://doi.org/10.1162/neco.2006.18.7.1527"

    def __post_init__(self) -> None:
        check_layer_epochs(self.layer_epochs)
        self._machine  # noqa: B018 - checks what it takes

    @property
    def _machine(self) -> Contrastive:
        return Contrastive(self.steps, self.chains, self.visible)

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and a machine for each hidden layer beside it."""
        return self._machine.with_machines(layered_encoder(model, "dbn"), data, "dbn")

    def stages(self, trained: nn.Module, epochs: int) -> tuple[TrainingStage, ...]:
        """Return a stage for each layer."""
        assert isinstance(trained, EncoderAndRbms)
        names = hidden_names(trained.encoder)
        shares = epochs_of_layers(self.layer_epochs, len(names), epochs, len(names))
        return tuple(
            TrainingStage(name, machine, self._machine, below(trained.encoder, number), share)
            for number, (name, machine, share) in enumerate(zip(names, trained.rbms, shares, strict=True), start=1)
        )

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return what the lowest machine minimises."""
        return self._machine.losses(network, batch)

"""Reconstructing the inputs, clean or from a damaged copy: the autoencoder and the denoising autoencoder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.nn.decoders import Autoencoder, build_decoder, encoder_of
from reuse.objectives.objective import Network, Objective, add_up, count_rows, example_of


def add_gaussian(inputs: Tensor, amount: float) -> Tensor:
    """Add normal noise of standard deviation `amount`, in the units of the inputs."""
    return inputs + amount * torch.randn_like(inputs)


def mask(inputs: Tensor, amount: float) -> Tensor:
    """Set a share `amount` of all values to zero, each on its own."""
    return inputs * (torch.rand_like(inputs) >= amount)


DAMAGES: dict[str, Callable[[Tensor, float], Tensor]] = {"gaussian": add_gaussian, "masking": mask}


@dataclass(frozen=True)
class Reconstruction(Objective):
    """Mean squared error between the network's output and its own clean input.

    With noise it is the denoising autoencoder of Vincent et al. 2008 (https://doi.org/10.1145/1390156.1390294) and 2010
    (https://jmlr.org/papers/v11/vincent10a.html): the damaged row goes in, the clean one is to come out. Noise belongs
    to training; metrics are measured on clean inputs.

    Attributes:
        noise: standard deviation ("gaussian") or share of values set to zero ("masking"); 0 is a plain autoencoder.
        kind: "gaussian" or "masking".
    """

    noise: float = 0.0
    kind: str = "gaussian"
    summary: ClassVar[str] = "give the inputs back through narrow hidden layers"
    paper: ClassVar[str] = "Hinton & Salakhutdinov 2006, https://doi.org/10.1126/science.1127647"

    def __post_init__(self) -> None:
        lookup(DAMAGES, self.kind, "noise")
        if not self.noise >= 0:
            raise UsageError(f"noise is {self.noise}: give 0 or more")
        if self.kind == "masking" and self.noise >= 1:
            raise UsageError(f"masking noise is {self.noise}, which leaves nothing: give a share below 1")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer and a decoder behind it."""
        encoder = encoder_of(model)
        return Autoencoder(encoder, build_decoder(encoder, example_of(data)))

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error over rows and values, from damaged inputs."""
        clean = batch.inputs[0]
        inputs = DAMAGES[self.kind](clean, self.noise) if self.noise else clean
        return {"loss": functional.mse_loss(network(inputs), clean)}

    def pictures(self, trained: nn.Module, rows: Tensor) -> dict[str, Tensor]:
        """Return rows above their reconstructions, of damaged rows too where there is noise."""
        damaged = [DAMAGES[self.kind](rows, self.noise)] if self.noise else []
        return {"reconstructions": torch.stack([rows, *damaged, trained(damaged[0] if damaged else rows)])}

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the summed squared error a row, from clean inputs."""
        clean = batch.inputs[0]
        errors = functional.mse_loss(network(clean), clean, reduction="none")
        return {"rows": count_rows(batch), "loss": add_up(errors.flatten(1).mean(1))}

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return `loss` and `mse`, the same."""
        mse = float(tally["loss"] / tally["rows"])
        return {"loss": mse, "mse": mse}


@dataclass(frozen=True)
class Denoising(Reconstruction):
    """`Reconstruction` from inputs of which a quarter is masked, unless told otherwise.

    Attributes:
        noise: share of values set to zero ("masking"), or standard deviation ("gaussian").
        kind: "gaussian" or "masking".
    """

    noise: float = 0.25
    kind: str = "masking"
    summary: ClassVar[str] = "give the clean inputs back from inputs of which a quarter is masked"
    paper: ClassVar[str] = "Vincent et al. 2008, https://doi.org/10.1145/1390156.1390294"

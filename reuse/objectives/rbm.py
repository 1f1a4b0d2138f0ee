"""Restricted Boltzmann machines by contrastive divergence, Hinton 2002, or with chains that last, Tieleman 2008."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.distributed import world_size
from reuse.errors import UsageError
from reuse.nn.mlp import MLP
from reuse.nn.rbm import Rbm
from reuse.objectives.layerwise import layered_encoder
from reuse.objectives.objective import Network, Objective

VISIBLE = ("auto", "binary", "normal")
LOOKED_AT = 1000  # training rows that show whether values are probabilities


class EncoderAndRbms(nn.Module):
    """An encoder, and a machine for each of its hidden layers, whose weights it shares.

    Args:
        encoder: of dense layers with sigmoids.
        rbms: one a layer, the lowest first.
    """

    def __init__(self, encoder: MLP, rbms: list[Rbm]) -> None:
        super().__init__()
        self.encoder, self.rbms = encoder, nn.ModuleList(rbms)

    def forward(self, v: Tensor, steps: int = 1) -> tuple[Tensor, Tensor]:
        """Return what the lowest machine does."""
        energies: tuple[Tensor, Tensor] = self.rbms[0](v, steps)
        return energies


@dataclass(frozen=True)
class Contrastive(Objective):
    """F(v) - F(v'), a mean over rows v and samples v' of the machine, whose gradient is that of contrastive divergence.

    F is the free energy; with v' drawn from the machine itself it would be the gradient of -log p(v). The difference
    says nothing of how good a machine is, so all epochs are trained.

    Attributes:
        steps: Gibbs steps from rows, or from where the chains are, to samples.
        chains: how many chains are gone on with from step to step (persistent); 0 begins at the rows (CD-k).
        visible: "binary" for values from 0 to 1, "normal" for others in a standard scale, "auto": as the rows are.
    """

    steps: int = 1
    chains: int = 0
    visible: str = "auto"
    monitor: ClassVar[str | None] = None
    summary: ClassVar[str] = "give rows a lower free energy than what one layer of binary units makes of them"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables")
    paper: ClassVar[str] = "Hinton 2002, https://doi.org/10.1162/089976602760128018"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.chains < 0:
            raise UsageError(f"rbm has {self.steps} steps and {self.chains} chains: give 1 or more, and 0 or more")
        if self.visible not in VISIBLE:
            raise UsageError(f"visible is {self.visible!r}: give one of {', '.join(VISIBLE)}")

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and a machine beside it that shares its one hidden layer."""
        encoder = layered_encoder(model, "rbm")
        if len(encoder.widths) > 1:
            raise UsageError(f"rbm trains one hidden layer, and there are {len(encoder.widths)}: take dbn, or mlp:100")
        return self.with_machines(encoder, data, "rbm")

    def with_machines(self, encoder: MLP, data: Dataset, method: str) -> EncoderAndRbms:
        """Return an encoder with a machine for each of its layers.

        Args:
            encoder: whose layers they share.
            data: whose rows the lowest sees.
            method: for messages.

        Raises:
            UsageError: layers are not of linear parts with sigmoids alone, or values do not fit.
        """
        style, front = encoder.style, set(encoder._modules) - {"flatten", "output"}
        dense = [encoder.get_submodule(f"hidden{number + 1}") for number in range(len(encoder.widths))]
        if style.activation != "sigmoid" or style.norm or style.dropout or len(front) > len(dense):
            raise UsageError(
                f"{method} needs layers of a linear part and a sigmoid: give activation=sigmoid, and no norm or dropout"
            )
        if self.chains and world_size() > 1:
            raise UsageError(f"{method} keeps its chains in one process: leave chains out, or train in one")
        normal = self._is_normal(data, method)
        linears = [layer.get_submodule("linear") for layer in dense]
        rbms = [Rbm(one, normal=normal and one is linears[0], chains=self.chains) for one in linears]  # type: ignore[arg-type]
        return EncoderAndRbms(encoder, rbms)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the difference of mean free energies."""
        rows, samples = network(batch.inputs[0], self.steps)
        return {"loss": rows.mean() - samples.mean()}

    def _is_normal(self, data: Dataset, method: str) -> bool:
        some = data.train.inputs.gather(torch.arange(min(LOOKED_AT, len(data.train))))[0]
        within = bool(((some >= 0) & (some <= 1)).all())
        if self.visible == "binary" and not within:
            raise UsageError(f"{method} has binary visible units, and values are not from 0 to 1: give visible=normal")
        return self.visible == "normal" or not within

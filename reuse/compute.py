"""Where and in which types a command computes, and rows on their way there."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reuse.data.dataset import Split


@dataclass(frozen=True)
class Compute:
    """Where and in which types a training computes.

    Attributes:
        device: where.
        precision: a name of `reuse.training.precision`.
    """

    device: torch.device
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The type of the model and its inputs."""
        return torch.float64 if self.precision == "float64" else torch.float32


def moved(inputs: Tensor, compute: Compute) -> Tensor:
    """Return inputs where and in the type in which is computed; tokens stay whole numbers."""
    return inputs.to(compute.device, compute.dtype if inputs.is_floating_point() else inputs.dtype)


def targets_of(split: Split, compute: Compute) -> Tensor | None:
    """Return the targets of a split, numbers in the type in which is computed."""
    if split.targets is None or not split.targets.is_floating_point():
        return split.targets
    return split.targets.to(compute.dtype)

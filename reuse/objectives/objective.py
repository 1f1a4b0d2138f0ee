"""What an objective is: the one shape that everything the trainer can minimise has."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from reuse.data.rows import Batch

Network = Callable[..., Tensor]


class Objective(Protocol):
    """What a training minimises, and how a network is measured by it."""

    @property
    def monitor(self) -> str:
        """The metric that early stopping watches; lower is better."""
        ...

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return named scalars, means over the batch; the step minimises their sum."""
        ...

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return sums over the batch that can be added up over batches; nothing of it waits for the device."""
        ...

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return the metrics that the sums over all batches amount to."""
        ...


def labels_of(batch: Batch) -> Tensor:
    """Return the targets of a batch that must have some."""
    assert batch.targets is not None, "a supervised objective needs targets"
    return batch.targets


def add_up(values: Tensor, dim: int | None = None) -> Tensor:
    """Sum `values` (over dimension `dim`, or all) in float64, so that a million rows cost no precision."""
    precise = torch.float32 if values.device.type == "mps" else torch.float64  # MPS has no float64
    return values.sum(dtype=precise) if dim is None else values.sum(dim, dtype=precise)


def count_rows(batch: Batch) -> Tensor:
    """Return the number of rows of a batch as a float64 scalar on its device, as a tally keeps it."""
    rows = batch.inputs[0]
    precise = torch.float32 if rows.device.type == "mps" else torch.float64
    return torch.full((), rows.shape[0], dtype=precise, device=rows.device)

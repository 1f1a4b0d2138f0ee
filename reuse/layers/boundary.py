"""The boundary between layers that are frozen as a whole and what is trained on their outputs elsewhere."""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Boundary(nn.Module):
    """Passes everything on, and counts as what trains: a model that ends with it is cut before it."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x * self.one


def bounded(below: Mapping[str, nn.Module], like: Tensor) -> nn.Module:
    """Return layers one after the other with a boundary behind them, so that their outputs can be cut off and cached.

    Args:
        below: the layers by name, the lowest first; they are shared, not copied.
        like: a tensor on the device and in the type in which they compute.
    """
    return nn.Sequential(OrderedDict(below, boundary=Boundary().to(like.device, like.dtype)))

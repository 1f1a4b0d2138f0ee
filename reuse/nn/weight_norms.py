"""Norms of a layer's weights instead of its outputs: the layer computes its weight from others each time it is used.

The state dict holds these others: for `weight` norm the length and the direction of each unit's weights,
`linear.parametrizations.weight.original0` and `original1`; for `spectral` norm the weight before it is divided by its
greatest singular value, `original`, and that value's vectors, which training steps improve.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils import parametrizations

from reuse.errors import UsageError
from reuse.menus import lookup

# Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868; Miyato et al. 2018, https://arxiv.org/abs/1802.05957.
WEIGHT_NORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight": parametrizations.weight_norm,
    "spectral": parametrizations.spectral_norm,
}


def normalise_weight(layer: nn.Module, name: str) -> None:
    """Give a linear or convolutional layer, whose initial weights are drawn, the norm of weights called `name`.

    Weight norm leaves the weight as it is; spectral norm divides it by its greatest singular value at once.

    Raises:
        UnknownNameError: no norm of weights has that name.
        UsageError: the weights are all zero and have no direction.
    """
    lookup(WEIGHT_NORMS, name, "norm of weights")(layer)
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    if not bool(torch.isfinite(weight).all()):
        raise UsageError(f"norm {name!r} needs weights with a direction, and a unit of these begins at zero: use init")

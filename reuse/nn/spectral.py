"""Weights without singular values above 1: spectral normalisation, Miyato et al. 2018, as a bound.

https://arxiv.org/abs/1802.05957 divides each weight by its largest singular value in every forward. Here the weight
itself is divided after each step, where the value is above 1, so that a layer is reused under its own name and computes
what it was trained to. What divides in every forward is a norm of the model: `norm="spectral"`.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.modules.conv import _ConvNd

SETTLING = 20  # rounds of power iteration on a fresh weight; one a step follows it from then on


class SpectralBound(nn.Module):
    """The largest singular values of the linear and convolutional weights of some modules, and what holds them.

    Args:
        network: holds the modules; it is not kept.
        children: names of those whose weights are bound.

    Attributes:
        left: of each weight, as a matrix of `(outputs, all others)`, the vector that belongs to its largest singular
            value: buffers, so that a training that is resumed goes on from them.
    """

    def __init__(self, network: nn.Module, children: tuple[str, ...]) -> None:
        super().__init__()
        self.names = tuple(
            f"{child}.{name}.weight".replace("..", ".")
            for child in children
            for name, module in network.get_submodule(child).named_modules()
            if isinstance(module, nn.Linear | _ConvNd) and isinstance(module._parameters.get("weight"), Tensor)
        )
        for number, name in enumerate(self.names):
            rows = len(network.get_parameter(name))
            self.register_buffer(f"left{number}", normalize(torch.randn(rows), dim=0))
        self.hold(network, SETTLING)

    @torch.no_grad()
    def hold(self, network: nn.Module, rounds: int = 1) -> None:
        """Divide each weight by its largest singular value, as power iteration finds it, where that is above 1."""
        for number, name in enumerate(self.names):
            weight, left = network.get_parameter(name), self.get_buffer(f"left{number}")
            matrix = weight.flatten(1)
            for _ in range(rounds):
                right = normalize(left @ matrix, dim=0)
                left.copy_(normalize(matrix @ right, dim=0))
            weight.div_((left @ matrix @ right).clamp(min=1))

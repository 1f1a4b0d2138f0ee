"""Sharpness-aware minimisation (Foret et al. 2021, arXiv:2010.01412)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter

TINY = 1e-12
"""Keeps a gradient of zero from dividing by zero."""


@contextmanager
def perturbed(parameters: Sequence[Parameter], rho: float) -> Iterator[None]:
    """Move the parameters uphill by `rho * g / ||g||`, where the loss nearby is worst, and take them back bit for bit.

    The norm is that of all gradients together. Within the block compute the gradients anew; the optimizer's step
    follows after it, with those gradients and the old parameters. They come back on an error too.

    Args:
        parameters: those without a gradient stay where they are.
        rho: how far, in the units of the weights; the paper's own is 0.05.
    """
    moved: list[Tensor] = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
    with torch.no_grad():
        kept = [parameter.clone() for parameter in moved]
        if moved:
            scale = rho / (torch.nn.utils.get_total_norm(gradients) + TINY)
            torch._foreach_add_(moved, [*torch._foreach_mul(gradients, scale)])
    try:
        yield
    finally:
        if moved:
            with torch.no_grad():
                torch._foreach_copy_(moved, kept)

"""A discriminator kept flat around real rows: the R1 penalty of Mescheder et al. 2018.

Without it a discriminator of few rows soon tells all of them, its loss is 0 and its layers learn nothing more.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from reuse.errors import UsageError


def watched(rows: Tensor) -> Tensor:
    """Return rows whose gradient can be asked for, where gradients are wanted at all."""
    return rows.detach().requires_grad_() if torch.is_grad_enabled() else rows


@contextmanager
def differentiated_twice(weight: float = 1.0) -> Iterator[None]:
    """Compute what `gradient_penalty` takes: a gradient of a gradient, which fused attention lacks, but at weight 0."""
    if not weight:
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield


def gradient_penalty(logits: Tensor, rows: Tensor, weight: float) -> dict[str, Tensor]:
    """Return γ/2 times the mean over rows of the squared length of the logit's gradient, under a name; else nothing.

    https://arxiv.org/abs/1801.04406. Nothing where γ is 0, or no gradients are wanted, as in measuring.

    Args:
        logits: of real rows, `(batch,)`.
        rows: as `watched` gave them.
        weight: γ.
    """
    if not weight or not rows.requires_grad:
        return {}
    (slope,) = torch.autograd.grad(logits.sum(), rows, create_graph=True)
    return {"penalty": weight / 2 * slope.flatten(1).square().sum(1).mean()}


def check_penalty(weight: float) -> None:
    """Raise a UsageError unless γ is 0 or more."""
    if not weight >= 0:
        raise UsageError(f"the gradient penalty is {weight}: give 0 or more, such as 1")

"""Running frozen layers: without gradients, in the precision of the training."""

from collections.abc import Callable

import torch
from torch import Tensor, fx

from reuse.devices import Compute
from reuse.precision import autocast

RunFrozen = Callable[[fx.GraphModule, tuple[Tensor, ...], Compute], tuple[Tensor, ...]]
"""Takes frozen layers, their inputs, and where and in which types, and returns what they compute."""


def run_frozen(module: fx.GraphModule, tensors: tuple[Tensor, ...], compute: Compute) -> tuple[Tensor, ...]:
    """Return what frozen layers compute."""
    # Not inference_mode: what a module memorises in its forward would then be useless for training.
    with torch.no_grad(), autocast(compute.precision, compute.device):
        outputs: tuple[Tensor, ...] = module(*tensors)
        return outputs

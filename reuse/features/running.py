"""Running frozen layers: without gradients, in the precision of the training."""

import torch
from torch import Tensor, fx

from reuse.devices import Compute
from reuse.training.precision import autocast


def run_frozen(module: fx.GraphModule, tensors: tuple[Tensor, ...], compute: Compute) -> tuple[Tensor, ...]:
    """Return what frozen layers compute."""
    # Not inference_mode: what a module memorises in its forward would then be useless for training.
    with torch.no_grad(), autocast(compute.precision, compute.device):
        outputs: tuple[Tensor, ...] = module(*tensors)
        return outputs

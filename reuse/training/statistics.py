"""The running statistics of batch norms: keeping them, and computing them precisely."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reuse.data.rows import Batch
from reuse.objectives.objective import Network


def live_batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms that keep running statistics and are not frozen; call it in train mode.

    A frozen batch norm is held in eval mode (see `reuse.layers.freezing`).
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return [norm for norm in norms if norm.training and norm.running_mean is not None]


def batch_statistics(model: nn.Module) -> dict[str, Tensor]:
    """Return the running means and variances of the batch norms in train mode, by name, not copied."""
    live = {id(norm) for norm in live_batch_norms(model)}
    return {
        f"{name}.{kind}": getattr(module, kind)
        for name, module in model.named_modules()
        if id(module) in live
        for kind in ("running_mean", "running_var")
    }


@contextmanager
def kept_statistics(model: nn.Module) -> Iterator[None]:
    """Leave the running statistics as they are, though batches pass in train mode."""
    norms = live_batch_norms(model)
    kept = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, kept, counts, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


class _Moments:
    """Sums over the batches of what enters one batch norm: rows, means and mean squares weighted by rows."""

    def __init__(self, norm: _BatchNorm) -> None:
        self.norm = norm
        self.weight = 0.0
        self.mean: Tensor | float = 0.0
        self.square: Tensor | float = 0.0

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].detach()
        precise = torch.float32 if values.device.type == "mps" else torch.float64
        flat = values.to(precise).movedim(1, 0).flatten(1)  # (channels, rows · positions)
        self.weight += flat.shape[1]
        self.mean = self.mean + flat.sum(1)
        self.square = self.square + flat.square().sum(1)

    def write(self) -> None:
        mean = torch.as_tensor(self.mean) / self.weight
        variance = torch.as_tensor(self.square) / self.weight - mean.square()
        unbiased = variance.clamp(min=0) * (self.weight / max(self.weight - 1, 1))
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        self.norm.running_mean.copy_(mean)
        self.norm.running_var.copy_(unbiased)


def compute_statistics(model: nn.Module, network: Network, batches: Iterable[Batch]) -> int:
    """Set the live batch norms' running statistics to those of all rows with the weights as they are now.

    Precise batch norm (Wu & Johnson 2021, https://arxiv.org/abs/2105.07576): batches pass in train mode, each
    normalised by its own statistics, and the moments of what enters each norm are added up over all rows. Dropout is
    off.

    Args:
        model: whose batch norms these are; every module's mode is left as it was.
        network: what is called on a batch.
        batches: all training rows.

    Returns:
        The number of batch norms.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    moments = [_Moments(norm) for norm in live_batch_norms(model)]
    norms = {id(moment.norm) for moment in moments}
    for module in model.modules():
        if id(module) not in norms:
            module.training = False
    hooks = [moment.norm.register_forward_pre_hook(moment) for moment in moments]
    try:
        if moments:
            with torch.no_grad(), kept_statistics(model):
                for batch in batches:
                    network(*batch.inputs)
            for moment in moments:
                moment.write()
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return len(moments)

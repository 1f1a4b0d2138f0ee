"""The number of processor threads that a training is worth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from reuse.data.rows import Rows
from reuse.objectives.objective import Network
from reuse.precision import autocast
from reuse.training.evaluation import eval_mode

# Below this many operations a forward pass, a second thread gains nothing, and costs seconds an epoch where other
# programs want the processor too: the threads then wait for each other longer than they compute.
SMALL_FLOPS = 5_000_000
# Besides activations, the layers whose operations follow from their weights.
ROW_LAYERS = (nn.Linear, nn.BatchNorm1d, nn.LayerNorm, nn.Dropout, nn.Flatten, nn.Identity)


@contextmanager
def fitting_threads(
    network: Network, model: nn.Module, source: Rows, batch_size: int, precision: str = "float32"
) -> Iterator[None]:
    """Compute with one thread inside the block if a batch is small work, on the CPU; the result is the same.

    Args:
        network: what is called on a batch.
        model: whose mode is switched while its operations are counted.
        source: where a batch comes from.
        batch_size: its rows.
        precision: that of the training, a name of `reuse.precision.PRECISIONS`.
    """
    threads = torch.get_num_threads()
    if source.device.type == "cpu" and threads > 1:
        most = _most_flops(model, source, batch_size)
        if most < SMALL_FLOPS or _flops(network, model, source, batch_size, precision) < SMALL_FLOPS:
            torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _most_flops(model: nn.Module, source: Rows, batch_size: int) -> float:
    """Return more operations than a forward pass can take, where layers stand in a row and read each row once."""
    flat = all(len(tensor.shape) == 2 for tensor in source.gather(torch.arange(1, device=source.device)))
    if not flat or not all(map(_reads_rows_once, model.modules())):
        return float("inf")
    return 2 * batch_size * sum(parameter.numel() for parameter in model.parameters())


def _reads_rows_once(module: nn.Module) -> bool:
    if any(module.children()):  # a forward of its own may call its layers as often as it likes
        return type(module).forward is nn.Sequential.forward
    return isinstance(module, ROW_LAYERS) or type(module).__module__ == nn.ReLU.__module__


def _flops(network: Network, model: nn.Module, source: Rows, batch_size: int, precision: str) -> int:
    """Return the operations of one forward pass on a batch: multiplications and additions of its matrix products."""
    from torch.utils.flop_counter import FlopCounterMode  # its import and use bring Triton and torch's compiler

    device = next((p.device for p in model.parameters()), source.device)
    inputs = source.gather(torch.arange(min(batch_size, len(source)), device=source.device))
    with eval_mode(model), torch.no_grad(), autocast(precision, device), FlopCounterMode(display=False) as counter:
        network(*(tensor.to(device) for tensor in inputs))
    return int(counter.get_total_flops())

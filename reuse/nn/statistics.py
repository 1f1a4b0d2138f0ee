"""Running statistics of batch norms, held while rows pass that they are not to be of."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def held_statistics(network: nn.Module) -> Iterator[None]:
    """Let batch norms normalise by each batch as ever in training, and leave what they will be evaluated with alone."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    was_training = [norm for norm in norms if norm.training]
    for norm in was_training:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in was_training:
            norm.track_running_stats = True

"""The network of a source as it is: with its own output layer where it has learned one, at zero where it has not."""

from pathlib import Path

import torch
from torch import nn

from reuse.errors import RunError
from reuse.nn.outputs import output_layers
from reuse.reporting import Reporter
from reuse.runs.models import load_whole
from reuse.settings.model import ReusingSettings
from reuse.setup.models import restore
from reuse.setup.sources import Source


def network_of_run(source: Source, *, trust: bool) -> nn.Module:
    """Return the network of a run; of an encoder, whose output layer was never trained, that layer gives zeros.

    Args:
        source: a run.
        trust: whether a `package.module:callable` may be imported and called.

    Raises:
        RunError: it has no model of its own.
    """
    manifest = source.manifest
    assert manifest is not None
    assert source.weights is not None
    if manifest.model is None or manifest.preprocessing is None:
        raise RunError(f"{source.name} has no model of its own: name the run of a model")
    network = manifest.model.build(trust=trust)
    if manifest.predicts:
        load_whole(network, source.weights, Path(source.name))
    else:
        restore_all_but_outputs(network, source)
    return network


@torch.no_grad()
def restore_all_but_outputs(network: nn.Module, source: Source) -> None:
    """Fill a network; the output layer becomes the same each time, as it is in the key of what is cached.

    Args:
        network: freshly built.
        source: with weights.
    """
    assert source.weights is not None
    network.to(next((t.dtype for t in source.weights.values() if t.is_floating_point()), torch.float32))
    restore(network, source, ReusingSettings(), Reporter())
    for name in output_layers(network):
        for parameter in network.get_submodule(name).parameters():
            parameter.zero_()


def own_outputs(spec: str) -> int:
    """Return how many outputs a model has by itself; 1 where it does not say."""
    family, _, name = spec.partition(":")
    if family != "timm":
        return 1
    import timm  # heavy, and of use to timm's models only

    config = timm.get_pretrained_cfg(name)
    return (config.num_classes if config else 0) or 1

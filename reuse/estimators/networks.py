"""The network of a source as it is, with the preparation of the rows that it takes."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reuse.data.preprocessing import Preprocessing
from reuse.errors import RunError, UsageError
from reuse.estimators.rows import as_they_are, prepared, timm_preparation
from reuse.nn.options import LayerOptions
from reuse.nn.outputs import output_layers
from reuse.nn.recipe import ModelRecipe
from reuse.nn.specs import is_recurrent
from reuse.reporting import Reporter
from reuse.runs.models import load_whole
from reuse.settings.estimators import ExtractingSettings
from reuse.settings.model import ModelSettings, ReusingSettings
from reuse.settings.setting import settings_of
from reuse.setup.models import restore, with_model_options
from reuse.setup.sources import Source, find_source


@dataclass(frozen=True)
class Network:
    """A network with what is done to raw rows before it sees them.

    Attributes:
        module: the network, which nobody else has.
        preprocessing: of the rows.
    """

    module: nn.Module
    preprocessing: Preprocessing


def open_network(settings: ExtractingSettings, x: Any) -> Network:
    """Return the network that an estimator's parameters mean.

    Args:
        settings: with the source.
        x: rows that it shall take.

    Raises:
        UsageError, RunError, DataError: there is no such network, or it does not take such rows.
    """
    if isinstance(settings.source, nn.Module):
        return Network(copy.deepcopy(settings.source), as_they_are(np.asarray(x), reads_steps=True))
    source = find_source(settings.source)
    if source.manifest is not None:
        return _of_run(source, settings)
    return _of_spec(source, settings, np.asarray(x))


def _of_run(source: Source, settings: ExtractingSettings) -> Network:
    manifest = source.manifest
    assert manifest is not None
    assert source.weights is not None
    if manifest.model is None or manifest.preprocessing is None:
        raise RunError(f"{source.name} has no model of its own: name the run of a model")
    network = manifest.model.build(trust=settings.trust)
    if manifest.predicts:
        load_whole(network, source.weights, Path(source.name))
    else:  # an encoder, whose output layer was never trained
        _restore_all_but_outputs(network, source)
    return Network(network, manifest.preprocessing)


def _of_spec(source: Source, settings: ExtractingSettings, x: np.ndarray) -> Network:
    spec = settings.model or source.spec
    if spec is None:
        raise UsageError(f"{source.name} holds weights and does not say of which model: give model")
    preprocessing = timm_preparation(spec, x, settings.image_size) or as_they_are(x, reads_steps=is_recurrent(spec))
    options = with_model_options(ModelSettings(), spec)
    from_timm = source.weights is None and not settings.random_weights and spec.startswith("timm:")
    network = _recipe(spec, prepared(x[:1], preprocessing), options).build(pretrained=from_timm)
    if source.weights is not None:
        _restore_all_but_outputs(network, source)
    return Network(network, preprocessing)


def _recipe(spec: str, row: Tensor, options: ModelSettings) -> ModelRecipe:
    known = {name: getattr(options, name) for name in settings_of(LayerOptions)}
    return ModelRecipe(spec, tuple(row.shape[1:]), _num_outputs(spec), LayerOptions(**known))


def _num_outputs(spec: str) -> int:
    """Return how many outputs a model has by itself."""
    family, _, name = spec.partition(":")
    if family != "timm":
        return 1
    import timm  # heavy, and of use to timm's models only

    config = timm.get_pretrained_cfg(name)
    return (config.num_classes if config else 0) or 1


@torch.no_grad()
def _restore_all_but_outputs(network: nn.Module, source: Source) -> None:
    """Fill a network; the output layer becomes the same each time, as it is in the key of what is cached."""
    assert source.weights is not None
    network.to(next((t.dtype for t in source.weights.values() if t.is_floating_point()), torch.float32))
    restore(network, source, ReusingSettings(), Reporter())
    for name in output_layers(network):
        for parameter in network.get_submodule(name).parameters():
            parameter.zero_()

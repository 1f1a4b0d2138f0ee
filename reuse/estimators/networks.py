"""The network of a source as it is, with the preparation of the rows that it takes."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from reuse.data.preprocessing import Preprocessing
from reuse.errors import UsageError
from reuse.estimators.rows import as_they_are, prepared, timm_preparation
from reuse.nn.options import LayerOptions
from reuse.nn.recipe import ModelRecipe
from reuse.nn.specs import is_recurrent
from reuse.settings.estimators import ExtractingSettings
from reuse.settings.model import ModelSettings
from reuse.settings.setting import settings_of
from reuse.setup.models import with_model_options
from reuse.setup.networks import network_of_run, own_outputs, restore_all_but_outputs
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
    network = network_of_run(source, trust=settings.trust)
    assert source.manifest is not None
    assert source.manifest.preprocessing is not None
    return Network(network, source.manifest.preprocessing)


def _of_spec(source: Source, settings: ExtractingSettings, x: np.ndarray) -> Network:
    spec = settings.model or source.spec
    if spec is None:
        raise UsageError(f"{source.name} holds weights and does not say of which model: give model")
    preprocessing = timm_preparation(spec, x, settings.image_size) or as_they_are(x, reads_steps=is_recurrent(spec))
    options = with_model_options(ModelSettings(), spec)
    from_timm = source.weights is None and not settings.random_weights and spec.startswith("timm:")
    network = _recipe(spec, prepared(x[:1], preprocessing), options).build(pretrained=from_timm)
    if source.weights is not None:
        restore_all_but_outputs(network, source)
    return Network(network, preprocessing)


def _recipe(spec: str, row: Tensor, options: ModelSettings) -> ModelRecipe:
    known = {name: getattr(options, name) for name in settings_of(LayerOptions)}
    return ModelRecipe(spec, tuple(row.shape[1:]), own_outputs(spec), LayerOptions(**known))

"""Entrants of a ranking: sources that are opened as they are, with the labelled rows prepared as each takes them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from reuse.data.dataset import Dataset
from reuse.data.inputs import Inputs, JoinedInputs
from reuse.errors import UsageError
from reuse.layout import is_several
from reuse.nn.hf_specs import has_weights, is_hf
from reuse.ranking.loads import Loads
from reuse.ranking.naming import RankedSource
from reuse.reporting import Reporter
from reuse.seeding import seed_everything
from reuse.settings.model import ModelSettings
from reuse.settings.ranking import RankArguments
from reuse.setup.data import preprocessing_for
from reuse.setup.hf import config_of
from reuse.setup.models import make_recipe, with_model_options
from reuse.setup.networks import network_of_run, own_outputs, restore_all_but_outputs
from reuse.setup.siding import refuse_side


@dataclass(frozen=True)
class Entrant:
    """A source that is opened.

    Attributes:
        named: which it is.
        network: with its weights.
        data: the rows as it takes them.
        has_classes: whether its outputs are scores of classes that it has learned.
        is_random: whether nothing in it was ever trained.
    """

    named: RankedSource
    network: nn.Module
    data: Dataset
    has_classes: bool
    is_random: bool

    @property
    def is_untold(self) -> bool:
        """Whether it is a module or a file of weights, which may tell classes and does not say so."""
        source = self.named.found
        return self.named.module is not None or (
            source is not None and source.weights is not None and not _is_run(self.named)
        )

    @property
    def inputs(self) -> Inputs:
        """The labelled rows: those to train on, and then those that validate."""
        return JoinedInputs([self.data.train.inputs, self.data.valid.inputs])

    @property
    def parameters(self) -> int:
        """How many numbers the network has learned in all."""
        return sum(parameter.numel() for parameter in self.network.parameters())


def open_entrant(named: RankedSource, arguments: RankArguments, loads: Loads, reporter: Reporter) -> Entrant:
    """Return a source with its network and its rows.

    Raises:
        UsageError, RunError, DataError: it cannot be had, or does not take such rows.
    """
    seed_everything(arguments.seed)
    opened = _of_module if named.module is not None else _of_run if _is_run(named) else _of_spec
    entrant = opened(named, arguments, loads)
    if is_several(entrant.data.train.inputs.layout):
        raise UsageError(f"{named.name} takes several inputs a row, and a ranking reads models of one: leave it out")
    if entrant.is_random:
        reporter.warning(f"careful: {named.name} has random weights")
    return entrant


def has_learned(entrants: Sequence[Entrant], data: Any) -> list[str]:
    """Return the names of runs that have learned from labels of the very data."""
    found = []
    for one in entrants:
        source = one.named.found
        if source is not None and source.manifest is not None and source.manifest.predicts and source.settings:
            theirs = source.settings.data
            if isinstance(data, str | Path) and isinstance(theirs, str) and str(data) == theirs:
                found.append(one.named.name)
    return found


def _is_run(named: RankedSource) -> bool:
    return named.found is not None and named.found.manifest is not None


def _of_module(named: RankedSource, arguments: RankArguments, loads: Loads) -> Entrant:
    assert named.module is not None
    data = loads.data_for("", preprocessing_for("", arguments.image_size, arguments.channels))
    return Entrant(named, copy.deepcopy(named.module), data, has_classes=False, is_random=False)


def _of_run(named: RankedSource, arguments: RankArguments, loads: Loads) -> Entrant:
    source = named.found
    assert source is not None
    assert source.manifest is not None
    assert named.spec is not None
    refuse_side(source)
    network = network_of_run(source, trust=arguments.trust)
    resized = arguments.image_size is not None or arguments.channels is not None
    own = preprocessing_for(named.spec, arguments.image_size, arguments.channels)
    data = loads.data_for(named.spec, own if resized else source.manifest.preprocessing)
    has_classes = source.manifest.predicts and source.manifest.task == "classification"
    return Entrant(named, network, data, has_classes, is_random=False)


def _of_spec(named: RankedSource, arguments: RankArguments, loads: Loads) -> Entrant:
    source, spec = named.found, named.spec
    assert source is not None
    assert spec is not None
    data = loads.data_for(spec, preprocessing_for(spec, arguments.image_size, arguments.channels))
    settings = with_model_options(ModelSettings(), spec)
    recipe = replace(make_recipe(settings, data, config_of(spec)), num_outputs=own_outputs(spec))
    is_bare = source.weights is None
    from_timm = is_bare and not arguments.random_weights and spec.startswith("timm:")
    from_hf = is_bare and not arguments.random_weights and is_hf(spec) and has_weights(spec)
    network = recipe.build(pretrained=from_timm or from_hf)
    if source.weights is not None:
        restore_all_but_outputs(network, source)
    has_classes = from_timm and recipe.num_outputs > 1  # one or none: a model that tells no classes
    return Entrant(named, network, data, has_classes, is_random=is_bare and not (from_timm or from_hf))

"""What trains beside a network that is frozen as a whole: its settings, and how it is put there."""

from dataclasses import replace

from torch import nn

from reuse.errors import UsageError
from reuse.nn.outputs import output_layers
from reuse.nn.recipe import ModelRecipe
from reuse.nn.sides import BACKBONE, check_side
from reuse.nn.tapped import Tapped
from reuse.reporting import Reporter
from reuse.settings.commands import FinetuneSettings
from reuse.setup.models import Origins, uppermost_layers
from reuse.setup.sources import Source

ALL = ("all", "*", BACKBONE)
"""The patterns that mean the whole network, which is frozen in any case."""


def with_side(settings: FinetuneSettings) -> FinetuneSettings:
    """Return settings in which the network beside which something trains is frozen.

    Raises:
        UsageError: there is no such side network, or another setting does not go with it.
    """
    if settings.side is None:
        return settings
    check_side(settings.side)
    if not set(settings.freeze) <= set(ALL):
        raise UsageError(
            f"freeze is {', '.join(settings.freeze)}, and a side network trains beside layers that are all frozen: "
            "leave freeze out, or say all"
        )
    for name in ("unfreeze", "auto_freeze", "l2_sp"):
        if getattr(settings, name):
            raise UsageError(f"beside a side network all other layers stay frozen, so {name} has no use: leave it out")
    return replace(settings, freeze=(BACKBONE,))


def refuse_side(source: Source) -> None:
    """Raise where a source has a side network, whose layers are no layers of a model by themselves.

    Raises:
        UsageError: it has.
    """
    recipe = source.manifest.model if source.manifest is not None else None
    if recipe is not None and recipe.side is not None and source.manifest is not None:
        raise UsageError(
            f"{source.name} is a side network ({recipe.side}) beside layers of {source.manifest.source}: reuse these, "
            "or go on with the run by --resume"
        )


def stood_beside(
    model: nn.Module, origins: Origins, recipe: ModelRecipe, reporter: Reporter
) -> tuple[nn.Module, Origins]:
    """Return a model with what trains beside it, and where the layers of both come from.

    Args:
        model: with the weights that are reused.
        origins: of its layers.
        recipe: of the whole, which may have nothing beside the model.
        reporter: told what trains.
    """
    if recipe.side is None:
        return model, origins
    outputs = set(output_layers(model))
    restored, fresh = (
        tuple(f"{BACKBONE}.network.{name}" for name in names if name not in outputs)
        for names in (origins.restored, origins.fresh)
    )
    whole = recipe.with_side(model)
    reporter.line(_describe(whole, recipe))
    own = (name for name in uppermost_layers(whole) if not name.startswith(BACKBONE))
    return whole, Origins(restored, (*fresh, *own))


def measured(recipe: ModelRecipe, whole: nn.Module) -> ModelRecipe:
    """Return a recipe with what was measured when something was put beside a network.

    A run is built again with fresh weights, under which blocks that begin as the identity would give other layers for
    the very features.

    Args:
        recipe: of the whole.
        whole: that was built by it, with the weights that are reused.
    """
    if recipe.side is None:
        return recipe
    backbone = whole.get_submodule(BACKBONE)
    assert isinstance(backbone, Tapped)
    return replace(recipe, side_repeats=tuple(backbone.names[place] for place in sorted(backbone.repeats)))


def _describe(whole: nn.Module, recipe: ModelRecipe) -> str:
    backbone = whole.get_submodule(BACKBONE)
    assert isinstance(backbone, Tapped)
    below = sum(parameter.numel() for parameter in backbone.parameters())
    beside = sum(parameter.numel() for parameter in whole.parameters()) - below
    return (
        f"beside it trains {recipe.side}, of {beside:,} weights, and takes in {', '.join(backbone.names)} "
        f"({below:,} weights, frozen)"
    )

"""Layers that freeze by themselves: what the settings ask for, and what stands against it."""

from torch import nn

from reuse.distributed import world_size
from reuse.errors import UsageError
from reuse.settings.commands import FinetuneSettings
from reuse.training.blocks import blocks
from reuse.training.settling import Settling, check

PERCENTILE = 50.0
"""The paper's own."""

INTERVALS = 20
"""Into how many intervals the paper's experiments divide a training."""


def make_settling(model: nn.Module, settings: FinetuneSettings) -> Settling | None:
    """Return what watches the layers; None where nobody wants it, or no two blocks train that could be compared.

    Args:
        model: frozen as it trains now, on its device.
        settings: of a fine-tuning.

    Raises:
        UsageError: a setting cannot be taken.
    """
    chosen = settings.auto_freeze
    if chosen is False:
        return None
    percentile = PERCENTILE if chosen is True else float(chosen)
    every = interval(settings)
    check(percentile, every)
    parameters = dict(model.named_parameters())
    watched = {block: {name: parameters[name] for name in names} for block, names in blocks(model).items()}
    training = [block for block, held in watched.items() if any(p.requires_grad for p in held.values())]
    return Settling(watched, percentile, every) if len(training) > 1 else None


def describe_auto_freeze(settings: FinetuneSettings) -> list[str]:
    """Return in one sentence what a person should know; nothing where layers do not freeze by themselves."""
    if settings.auto_freeze is False:
        return []
    every = interval(settings)
    often = "epoch" if every == 1 else f"{every} epochs"
    line = f"layers freeze by themselves: their gradients are compared every {often}"
    none = 2 * every >= settings.epochs
    return [f"{line}, of which there are too few for any to freeze: train longer" if none else line]


def interval(settings: FinetuneSettings) -> int:
    """Return after how many epochs layers are looked at again."""
    every = settings.auto_freeze_every
    return max(1, settings.epochs // INTERVALS) if every is None else every


def check_auto_freeze(model: nn.Module, settings: FinetuneSettings, *, resumed: bool = False) -> None:
    """Raise unless layers of `model`, frozen as at the beginning, can freeze by themselves, where that is wanted.

    Args:
        model: frozen as the first phase trains it.
        settings: of a fine-tuning.
        resumed: whether a run goes on with other layers frozen than at its beginning, of which none may be left.

    Raises:
        UsageError: the message says what stands against it.
    """
    if settings.auto_freeze is False:
        return
    if settings.unfreeze:
        raise UsageError("auto_freeze freezes layers and unfreeze lets them train: leave one of the two out")
    if settings.parallel == "fsdp" and world_size() > 1:
        raise UsageError("auto_freeze needs a model that is whole, and fsdp divides it once: choose parallel=ddp")
    if settings.precision == "float16":
        raise UsageError("auto_freeze compares gradients, and float16 scales them as it goes: choose bfloat16")
    if make_settling(model, settings) is None and not resumed:
        names = ", ".join(blocks(model)) or "none"
        raise UsageError(
            f"auto_freeze compares layers that train below the output layer, and needs two at least: the model has "
            f"{names}; freeze fewer of them, or take a deeper model"
        )

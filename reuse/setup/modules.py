"""Modules that Python gives where the command line names a model; a run keeps their weights alone."""

from typing import Any

from torch import nn

from reuse.errors import UsageError
from reuse.nn.options import LayerOptions
from reuse.settings.commands import FinetuneSettings, PretrainSettings
from reuse.settings.files import OBJECT
from reuse.settings.setting import settings_of, shown


def module_in(value: Any, setting: str) -> nn.Module | None:
    """Return the module that a setting holds, None where it holds text or nothing.

    Args:
        value: of the setting.
        setting: its name.

    Raises:
        UsageError: it holds anything else.
    """
    if value is None or isinstance(value, str):
        return None
    if not isinstance(value, nn.Module):
        forms = "a run folder, a file of weights or a model spec such as timm:resnet18"
        raise UsageError(f"{setting} is {shown(value)}: text, or a module of torch, is expected ({forms})")
    return value


def spec_of(module: nn.Module) -> str:
    """Return how settings and runs name a module that Python gave."""
    return f"{OBJECT}{type(module).__module__}.{type(module).__qualname__}"


def refuse_building(settings: FinetuneSettings | PretrainSettings) -> None:
    """Raise where a setting is for models that are built, beside a module that is there already.

    Raises:
        UsageError: the message says which.
    """
    options = [name for name in settings_of(LayerOptions) if getattr(settings, name, None) is not None]
    options += [name for name in ("compare", "random_weights") if getattr(settings, name, None)]
    if options:
        raise UsageError(f"{options[0]} is for models that are built, and a module was given: leave it out")

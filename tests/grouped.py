"""The settings of a trainer, given flat and grouped as `reuse.Trainer` takes them."""

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from reuse.optim.groups import OptimizerSettings
from reuse.optim.optimization import Optimization
from reuse.training.settings import LoopSettings


def grouped(optimizer: str | OptimizerSettings = "adam", **settings: Any) -> dict[str, Any]:
    """Return arguments of `Trainer`: what is a field of a group goes there, the rest stays as it is."""
    numbers = _taken(settings, OptimizerSettings)
    first = optimizer if isinstance(optimizer, OptimizerSettings) else OptimizerSettings(optimizer, **numbers)
    how = Optimization(first, **_taken(settings, Optimization))
    return {"optimization": how, "loop": LoopSettings(**_taken(settings, LoopSettings)), **settings}


def _taken(settings: dict[str, Any], group: type[Any]) -> dict[str, Any]:
    names: Collection[str] = {field.name for field in fields(group)}
    return {name: settings.pop(name) for name in [*settings] if name in names}

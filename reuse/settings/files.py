"""Settings as plain values, for files and JSON, and back."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from reuse.errors import UsageError
from reuse.menus import suggest
from reuse.settings.group import Settings
from reuse.settings.run import RunSettings
from reuse.settings.setting import settings_of
from reuse.settings.synonyms import meant

T = TypeVar("T", bound=Settings)

ARRAYS = "arrays"
"""The word for data that were arrays: a run can be read, not replayed from it alone."""

FORMER_NONE = ("snapshots", 0)
"""The setting, and the value of it, that older versions wrote into files for what is not given now."""

OBJECT = "object:"
"""Before the class of an objective that was an object: as `ARRAYS`."""


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that a run is replayed from, as text, numbers and lists.

    What says where the run goes is left out.
    """
    names = settings_of(type(settings)).keys() - settings_of(RunSettings).keys()
    return {name: _plain(name, getattr(settings, name)) for name in settings_of(type(settings)) if name in names}


def objective_name(objective: object) -> str:
    """Return how settings name an objective: a name as it is, an object by its class."""
    kind = type(objective)
    return objective if isinstance(objective, str) else f"{OBJECT}{kind.__module__}.{kind.__qualname__}"


def checked_settings(kind: type[Settings], values: Mapping[str, Any], where: object) -> dict[str, Any]:
    """Return the values of a file as the settings of a command take them; dashes in names are underscores.

    Args:
        kind: the settings of the command.
        values: names and values.
        where: the file, for messages.

    Raises:
        UsageError: a name that is no setting of the command, or a value that it does not take.
    """
    known, checked = settings_of(kind), dict[str, Any]()
    for given, value in values.items():
        name = given.replace("-", "_")
        if name not in known:
            command = getattr(kind, "command", "")
            ours = meant(given, known)
            near = f"it is called {ours} here" if ours else suggest(given, known)
            raise UsageError(f"{where} gives {given!r}, no setting of `reuse {command}`: {near}")
        if (name, value) == FORMER_NONE:
            continue
        try:
            checked[name] = known[name].checked(value)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
    return checked


def without_infinities(value: Any) -> Any:
    """Return a value for JSON with None in place of NaN and infinities, which JSON has not and its readers reject."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: without_infinities(entry) for name, entry in value.items()}
    return [without_infinities(entry) for entry in value] if isinstance(value, list | tuple) else value


def _plain(name: str, value: Any) -> Any:
    if name == "data" and not isinstance(value, str | None):
        return ARRAYS
    if isinstance(value, tuple):
        return list(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return objective_name(value)

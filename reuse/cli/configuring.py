"""Settings from a TOML file: the names of the command's own, the types that its function says."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reuse.cli.options import TYPES
from reuse.cli.signatures import Setting
from reuse.errors import UsageError
from reuse.menus import suggest

# What a value in TOML may be for each part of an annotation, and what to call it.
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "text"),
    "Path": ((str,), "text"),
    "Any": ((str,), "text"),
    "Sequence": ((list,), "a list"),
}


def refuse_code(path: str, config: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise where a file, and not the user, names code that would be imported and called.

    Args:
        path: the file.
        config: its settings.
        given: the settings that the user gave.

    Raises:
        UsageError: it names a `package.module:callable`, and `--trust` is not given.
    """
    from reuse.nn.callables import names_code
    from reuse.optim.schedules import SCHEDULES
    from reuse.runs.models import OWN_FAMILIES

    for name, ours in (("model", OWN_FAMILIES), ("source", OWN_FAMILIES), ("schedule", tuple(SCHEDULES))):
        spec = str(config.get(name, ""))
        if names_code(spec, ours) and name not in given and not given.get("trust"):
            raise UsageError(f"{path} names the code {spec}, which would be imported and run: allow it by --trust")


def read_config(path: str, command: str, settings: Sequence[Setting]) -> dict[str, Any]:
    """Return the settings in a TOML file, a run's settings.toml or one written by hand, dashes or underscores in names.

    Args:
        path: the file.
        command: the command that is to take them.
        settings: the command's.

    Raises:
        RunError: the file cannot be read or is no TOML.
        UsageError: it holds another command's settings, an unknown one, or a value of a wrong kind.
    """
    from reuse.runs.folder import ARRAYS, read_toml

    saved = read_toml(Path(path))
    theirs = saved.pop("command", command)
    if theirs != command:
        raise UsageError(f"{path} holds the settings of `reuse {theirs}`, and this is `reuse {command}`")
    if saved.get("data") == ARRAYS:
        raise UsageError(f"{path} is of a run on arrays, which it does not hold: run it again from Python")
    if "trust" in saved:
        raise UsageError(f"{path} gives trust, which only the command line may: leave it out")
    known = {setting.name: setting for setting in settings}
    chosen = {}
    for name, value in saved.items():
        setting = known.get(name.replace("-", "_"))
        if setting is None:
            raise UsageError(f"{path} gives {name!r}, no setting of `reuse {command}`: {suggest(name, known)}")
        chosen[setting.name] = _checked(setting, value, path)
    return chosen


def _checked(setting: Setting, value: Any, path: str) -> Any:
    parts = re.findall(r"[A-Za-z]\w*", re.sub(r"\[.*?\]", "", setting.annotation))
    kinds = [KINDS[part] for part in parts if part in KINDS]
    accepted = tuple(kind for types, _ in kinds for kind in types)
    if isinstance(value, str) and setting.name in TYPES and str not in accepted:
        return TYPES[setting.name].parse(value)  # "2GB", as on the command line
    is_right = isinstance(value, accepted) and (not isinstance(value, bool) or bool in accepted)
    if not is_right:
        expected = " or ".join(dict.fromkeys(what for _, what in kinds))
        raise UsageError(f"{path} gives {setting.name} = {value!r}: {expected} is expected")
    return value

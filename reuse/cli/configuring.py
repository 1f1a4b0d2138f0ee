"""Settings from a TOML file: a run's settings.toml or one written by hand, dashes or underscores in names."""

from pathlib import Path
from typing import Any

import click

from reuse.cli.options import given
from reuse.errors import UsageError
from reuse.settings.commands import PlanArguments
from reuse.settings.files import ARRAYS, OBJECT, checked_settings
from reuse.settings.group import Settings


def settings_of_call(context: click.Context, config: str | None, arguments: type[Settings]) -> dict[str, Any]:
    """Return what the config file and the user give; the user's word counts more.

    Args:
        context: of the command.
        config: the file; None: there is none.
        arguments: the dataclass of the command's arguments.
    """
    chosen = given(context, arguments)
    if config is None:
        return chosen
    from reuse.setup.trusting import refuse_untrusted

    saved = read_config(config, arguments)
    refuse_untrusted(config, saved, chosen, trust=bool(chosen.get("trust")))
    return {**saved, **chosen}


def read_config(path: str, arguments: type[Settings]) -> dict[str, Any]:
    """Return the settings in a TOML file.

    Args:
        path: the file.
        arguments: the dataclass of the arguments of the command that is to take them.

    Raises:
        RunError: the file cannot be read or is no TOML.
        UsageError: it holds another command's settings, an unknown one, or a value of a wrong kind.
    """
    from reuse.runs.record_files import read_toml

    saved, command = read_toml(Path(path)), getattr(arguments, "command", "")
    theirs = saved.pop("command", command)
    if theirs != command:
        raise UsageError(f"{path} holds the settings of `reuse {theirs}`, and this is `reuse {command}`")
    if saved.get("data") == ARRAYS:
        raise UsageError(f"{path} is of a run on arrays, which it does not hold: run it again from Python")
    if any(str(saved.get(name, "")).startswith(OBJECT) for name in ("model", "source")):
        raise UsageError(f"{path} is of a run on a module, which it does not hold: run it again from Python")
    if "trust" in saved:
        raise UsageError(f"{path} gives trust, which only the command line may: leave it out")
    if arguments is PlanArguments:
        saved.pop("out", None)  # as on its command line
    return checked_settings(arguments, saved, path)

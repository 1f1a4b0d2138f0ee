"""Objectives on the command line: `--set name=value` for their own settings, and the list of them all."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import click

from reuse.errors import UsageError
from reuse.settings.commands import PretrainSettings


def with_own(own: Sequence[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with what `--set` gives behind the objective's colon, where it could have been written.

    Args:
        own: texts such as `size=8`; several values of one setting are separated by `/` or a comma.
        settings: those that are given.

    Raises:
        UsageError: a text gives no name, or it is not known of which objective it is a setting.
    """
    if not own:
        return settings
    nameless = next((text for text in own if not all(part.strip() for part in text.partition("="))), None)
    if nameless is not None:
        raise UsageError(f"--set {nameless}: write NAME=VALUE, such as size=8")
    if "resume" in settings and "objective" not in settings:
        raise UsageError(f"--set {own[0]}: name the objective too, or leave it out: a resumed run keeps its settings")
    objective = settings.get("objective", PretrainSettings.objective)
    joined = ",".join(text.strip().replace(",", "/") for text in own)
    return {**settings, "objective": f"{objective}{',' if ':' in objective else ':'}{joined}"}


def list_objectives(*, as_json: bool) -> None:
    """Print the objectives in groups, one line each, or as one JSON object."""
    from reuse.cli.printing import print_json, table
    from reuse.menus import written
    from reuse.objectives.menu import listed

    if as_json:
        print_json({"objectives": listed()})
        return
    for group, members in groupby(listed(), lambda entry: entry["group"]):
        rows = [
            {
                group: entry["name"],
                "learns to": entry["summary"],
                "data": " ".join(entry["data"]),
                "settings": " ".join(f"{name}={written(value)}" for name, value in entry["settings"].items()),
                "paper": entry["paper"],
            }
            for entry in members
        ]
        click.echo(table(rows) + "\n")

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
    return {**settings, "objective": _objective_with(own, **settings)} if own else settings


def _objective_with(own: Sequence[str], objective: str | None = None, resume: Any = None, **_: Any) -> str:
    nameless = next((text for text in own if not all(part.strip() for part in text.partition("="))), None)
    if nameless is not None:
        raise UsageError(f"--set {nameless}: write NAME=VALUE, such as size=8")
    if resume is not None and objective is None:
        raise UsageError(f"--set {own[0]}: name the objective too, or leave it out: a resumed run keeps its settings")
    name = str(PretrainSettings.objective) if objective is None else objective
    joined = ",".join(text.strip().replace(",", "/") for text in own)
    return f"{name}{',' if ':' in name else ':'}{joined}"


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

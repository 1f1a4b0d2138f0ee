"""`reuse sweep`."""

from dataclasses import replace
from typing import Any

import click

from reuse.cli.options import given, with_settings
from reuse.cli.signatures import Setting, read_settings
from reuse.cli.training import FINETUNE, JSON
from reuse.searching.unused_settings import UNUSED_BY_SWEEP

LISTS = ("learning_rate", "weight_decay", "optimizer", "momentum", "schedule", "head", "labels", "solver", "penalty")
ROWS = 20  # of the table


def _settings() -> list[Setting]:
    """Return the options: those of `sweep`, lists as texts, and those of `finetune` that heads can have together."""
    settings: dict[str, Setting] = {}
    for setting in (*read_settings("reuse.searching.sweep", "sweep"), *FINETUNE):
        if setting.name not in UNUSED_BY_SWEEP:
            settings.setdefault(setting.name, setting)
    return [replace(one, annotation="str") if one.name in LISTS else one for one in settings.values()]


SWEEP = _settings()


@click.command()
@with_settings(SWEEP)
@JSON
@click.pass_context
def sweep(context: click.Context, /, as_json: bool, **_: Any) -> None:
    """Train a head for every combination of settings, seeds and folds at once, on the cached outputs of frozen layers.

    SOURCE is what `reuse finetune` takes. Several values are separated by commas: --learning-rate 0.001,0.01. With
    --solver, linear heads are solved for: --solver logistic --penalty 1e-4,1e-2.
    """
    from reuse.cli.printing import Printer, print_json, table
    from reuse.searching.sweep import sweep as begin

    chosen = given(context)
    chosen.pop("as_json", None)
    printer = Printer()
    try:
        result = begin(**chosen, reporter=printer)
    finally:
        printer.close()
    if as_json:
        print_json(result.to_dict())
        return
    click.echo(table(_shown(result.table)[:ROWS]))
    if len(result.table) > ROWS:
        click.echo(f"{len(result.table) - ROWS} more in {result.run}/result.json")
    for name, value in result.best["test"].items():
        error = "" if value["standard_error"] is None else f" ± {value['standard_error']:.2g}"
        click.echo(f"the best on the test split: {name} {value['mean']:.4g}{error}")
    following = f"; next: reuse predict {result.kept} --data SPEC" if result.kept else ""
    click.echo(f"run folder: {result.run}{following}")


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the settings that all rows have in common."""
    settings = [name for name in LISTS if name in rows[0]]
    common = [name for name in settings if len({row[name] for row in rows}) == 1]
    return [{name: value for name, value in row.items() if name not in common} for row in rows]

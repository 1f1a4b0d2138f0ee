"""`reuse sweep`."""

from typing import Any

import click

from reuse.cli.options import JSON, PATTERNS, QUIET, given, refusing, with_settings
from reuse.cli.saying import announce, say
from reuse.settings.commands import SweepArguments
from reuse.settings.setting import settings_of

ROWS = 20  # of the table


@click.command(cls=refusing(SweepArguments), epilog=PATTERNS)
@with_settings(SweepArguments)
@JSON
@QUIET
@click.pass_context
def sweep(context: click.Context, /, as_json: bool, quiet: bool, **_: Any) -> None:
    """Train a head for every combination of settings, seeds and folds at once, on the cached outputs of frozen layers.

    SOURCE is what `reuse finetune` takes. Several values are separated by commas: --learning-rate 0.001,0.01. With
    --solver, linear heads are solved for: --solver logistic --penalty 1e-4,1e-2. With --probe-layers, the linear probe
    of each layer is, and one of all of them: --probe-layers 'conv*' --keep best.

    Example: reuse sweep timm:resnet18 --freeze '!head' --data photos/ --solver logistic --folds 5 --keep best
    """
    announce(as_json=as_json or quiet)
    from reuse.cli.printing import Printer, QuietPrinter, print_json
    from reuse.searching.sweep import sweep as call

    chosen = given(context, SweepArguments)
    printer = QuietPrinter() if quiet else Printer()
    try:
        result = call(**chosen, reporter=printer)
    finally:
        printer.close()
    if as_json:
        print_json(result.to_dict())
        return
    if not quiet:
        _show_table(result)
    following = f"; next: reuse predict {result.kept} --data SPEC" if result.kept else ""
    say(f"run folder: {result.run}{following}")


def _show_table(result: Any) -> None:
    from reuse.cli.printing import table

    click.echo(table(_shown(result.table)[:ROWS]))
    if len(result.table) > ROWS:
        say(f"{len(result.table) - ROWS} more in {result.run}/result.json")
    for name, value in result.best["test"].items():
        error = "" if value["standard_error"] is None else f" ± {value['standard_error']:.2g}"
        say(f"the best on the test split: {name} {value['mean']:.4g}{error}")


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the settings that all rows have in common."""
    settings = [name for name in settings_of(SweepArguments) if name in rows[0]]
    common = [name for name in settings if len({row[name] for row in rows}) == 1]
    return [{name: value for name, value in row.items() if name not in common} for row in rows]
